"""Uploads one file with the official Python SDK as its manual recommends, everything at its default.

Arguments: the dev server's URL, access key, secret key, bucket, key, file. The exit code says how
it ended, the last line why.
"""

import sys

import qiniu


def main():
    url, access_key, secret_key, bucket, key, source = sys.argv[1:]
    # Where to ask for regions: the one thing that a test against another server must set.
    qiniu.config.set_default(default_uc_host=url, default_query_region_host=url)
    token = qiniu.Auth(access_key, secret_key).upload_token(bucket, key, 24 * 3600)
    try:
        reply, info = qiniu.put_file_v2(token, key, source)
    except Exception as error:  # The SDK lets some of its HTTP library's pass.
        print(repr(error))
        return 1
    if not info.ok() or not reply:
        print(info.status_code, info.exception or info.text_body)
        return 1
    return 0


sys.exit(main())
