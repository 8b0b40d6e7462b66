// Uploads one file with the official Node SDK as its manual recommends, everything at its default.
//
// Arguments: the folder that holds node_modules, the dev server's URL, access key, secret key, bucket,
// key, file. The exit code says how it ended, the last line why.

import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

const [home, url, accessKey, secretKey, bucket, key, source] = process.argv.slice(2);
const require = createRequire(path.join(home, 'package.json'));
const qiniu = require('qiniu');

// Where to ask for regions: the one thing that a test against another server must set.
qiniu.conf.UC_HOST = new URL(url).host;
const config = new qiniu.conf.Config({
    useHttpsDomain: false,
    regionsQueryResultCachePath: path.join(os.tmpdir(), 'regions-cache.jsonl'),
});
const mac = new qiniu.auth.digest.Mac(accessKey, secretKey);
const policy = new qiniu.rs.PutPolicy({ scope: `${bucket}:${key}`, expires: 24 * 3600 });
const uploader = new qiniu.resume_up.ResumeUploader(config);

try {
    const { data, resp } = await uploader.putFileV2(
        policy.uploadToken(mac), key, source, qiniu.resume_up.PutExtra.create());
    if (resp.statusCode !== 200) throw new Error(`${resp.statusCode} ${JSON.stringify(data)}`);
    process.exit(0);
} catch (error) {
    console.log(String(error));
    process.exit(1);
}
