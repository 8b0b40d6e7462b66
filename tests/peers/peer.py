"""Does what it is asked with the official Python SDK, unchanged.

One JSON request per line on standard input, one JSON answer per line on standard output. The first
request names the server and the keys. A put with "pauses": [N, …] says {"paused": true} after its
N-th part and goes on when a line comes; meanwhile the server, or this process, may be killed.
"""

import json
import os
import sys

import qiniu
from qiniu.services.storage.upload_progress_recorder import UploadProgressRecorder
from qiniu.services.storage.uploaders import ResumeUploaderV1, ResumeUploaderV2

MIB = 1024 * 1024


def say(answer):
    print(json.dumps(answer), flush=True)


def answer_of(reply, info):
    return {
        "status": info.status_code,
        "reply": reply,
        "error": None if info.ok() else str(info.exception or info.text_body),
    }


class Peer:
    def __init__(self, setup):
        # The SDK's own settings: where to ask for regions. All other hosts come from that answer.
        qiniu.config.set_default(default_uc_host=setup["url"], default_query_region_host=setup["url"])
        self.auth = qiniu.Auth(setup["access_key"], setup["secret_key"])
        self.bucket = setup["bucket"]
        self.manager = qiniu.BucketManager(self.auth)

    def put(self, ask):
        source, key = ask["source"], ask["key"]
        progress = []

        def on_progress(sent, _total):
            progress.append(sent)
            if len(progress) in ask.get("pauses", []):
                say({"paused": True})
                sys.stdin.readline()

        token = self.auth.upload_token(self.bucket, key or None, 3600, ask.get("policy"))
        common = {
            "mime_type": ask["mime_type"],
            "progress_handler": on_progress,
            "metadata": ask.get("metadata"),
        }
        recorder = UploadProgressRecorder(ask["recorder"])
        if ask["how"] == "form":
            qiniu.config.set_default(default_upload_threshold=1 << 40)
            reply, info = qiniu.put_file(token, key, source, params=ask.get("vars"), **common)
        elif ask.get("one_by_one"):
            reply, info = self.put_one_by_one(token, ask, recorder, common)
        elif os.path.getsize(source) > 8 * MIB:
            # Above the threshold that the SDK has by itself, its ordinary call does the same.
            qiniu.config.set_default(default_upload_threshold=8 * MIB)
            reply, info = qiniu.put_file_v2(
                token, key, source, params=ask.get("vars"), version=ask["how"],
                part_size=ask["part_len"], upload_progress_recorder=recorder, **common)
        else:
            with open(source, "rb") as stream:
                reply, info = qiniu.put_stream_v2(
                    token, key, stream, os.path.basename(source), os.path.getsize(source),
                    params=ask.get("vars"), version=ask["how"], part_size=ask["part_len"],
                    modify_time=int(os.path.getmtime(source)),
                    upload_progress_recorder=recorder, **common)
        return dict(answer_of(reply, info), progress=progress)

    def put_one_by_one(self, token, ask, recorder, common):
        """The same upload without threads, so that a pause lies between two requests."""
        uploader = {"v1": ResumeUploaderV1, "v2": ResumeUploaderV2}[ask["how"]](
            self.bucket,
            progress_handler=common["progress_handler"],
            upload_progress_recorder=recorder,
            part_size=ask["part_len"],
            concurrent_executor=None,
            preferred_scheme="http",
        )
        source = ask["source"]
        with open(source, "rb") as stream:
            return uploader.upload(
                key=ask["key"], data=stream, data_size=os.path.getsize(source),
                file_name=os.path.basename(source), modify_time=int(os.path.getmtime(source)),
                mime_type=common["mime_type"], metadata=common["metadata"],
                custom_vars=ask.get("vars"), up_token=token)

    def stat(self, ask):
        return answer_of(*self.manager.stat(self.bucket, ask["key"]))

    def delete(self, ask):
        return answer_of(*self.manager.delete(self.bucket, ask["key"]))

    def list(self, ask):
        reply, _eof, info = self.manager.list(
            self.bucket, prefix=ask["prefix"], marker=ask.get("marker"), limit=ask["limit"])
        return answer_of(reply, info)


def main():
    peer = Peer(json.loads(sys.stdin.readline()))
    say({"sdk": qiniu.__version__})
    for line in iter(sys.stdin.readline, ""):
        ask = json.loads(line)
        say(getattr(peer, ask["do"])(ask))


main()
