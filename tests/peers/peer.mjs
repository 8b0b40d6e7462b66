// Does what it is asked with the official Node SDK, unchanged.
//
// One JSON request per line on standard input, one JSON answer per line on standard output. The
// first request names the server and the keys. A put with "pauses": [N, …] says {"paused": true}
// after its N-th part and goes on when a line comes; meanwhile the server, or this process, may be
// killed.

import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

// The folder that holds node_modules comes as the argument: the SDK is not installed beside this.
const require = createRequire(path.join(process.argv[2], 'package.json'));
const qiniu = require('qiniu');

let held = '';

// Reads one line, and blocks: a pause in the SDK's progress call must stop the upload.
function readLine() {
    const buffer = Buffer.alloc(65536);
    while (!held.includes('\n')) {
        const count = fs.readSync(0, buffer, 0, buffer.length, null);
        if (count === 0) return null;
        held += buffer.toString('utf8', 0, count);
    }
    const end = held.indexOf('\n');
    const line = held.slice(0, end);
    held = held.slice(end + 1);
    return line;
}

function say(answer) {
    fs.writeSync(1, JSON.stringify(answer) + '\n');
}

async function answerOf(promise) {
    try {
        const { data, resp } = await promise;
        const error = resp.statusCode < 300 ? null : JSON.stringify(data);
        return { status: resp.statusCode, reply: data, error };
    } catch (error) {
        return { status: error.resp?.statusCode ?? -1, reply: null, error: String(error) };
    }
}

class Peer {
    constructor(setup) {
        // The SDK's own settings: where to ask for regions. All other hosts come from that answer.
        qiniu.conf.UC_HOST = new URL(setup.url).host;
        // A connection per request: nothing is left over from a server that is gone.
        qiniu.conf.RPC_HTTP_AGENT = new http.Agent({ keepAlive: false });
        this.config = new qiniu.conf.Config({
            useHttpsDomain: false,
            regionsQueryResultCachePath: path.join(os.tmpdir(), 'regions-cache.jsonl'),
        });
        this.mac = new qiniu.auth.digest.Mac(setup.access_key, setup.secret_key);
        this.bucket = setup.bucket;
        this.manager = new qiniu.rs.BucketManager(this.mac, this.config);
    }

    async put(ask) {
        const progress = [];
        const onProgress = (sent) => {
            progress.push(sent);
            if (ask.pauses?.includes(progress.length)) {
                say({ paused: true });
                readLine();
            }
        };
        const scope = ask.key ? `${this.bucket}:${ask.key}` : this.bucket;
        const policy = new qiniu.rs.PutPolicy({ scope, expires: 3600, ...ask.policy });
        const token = policy.uploadToken(this.mac);
        const name = path.basename(ask.source);
        const vars = ask.vars ?? {};
        const metadata = ask.metadata ?? {};
        let upload;
        if (ask.how === 'form') {
            const uploader = new qiniu.form_up.FormUploader(this.config);
            const extra = new qiniu.form_up.PutExtra(
                name, vars, ask.mime_type, null, true, metadata);
            upload = uploader.putFile(token, ask.key, ask.source, extra);
        } else {
            const uploader = new qiniu.resume_up.ResumeUploader(this.config);
            // The SDK's recorder cannot name an upload without a key.
            const recorder = ask.key
                ? qiniu.resume_up.createResumeRecorderSync(ask.recorder) : null;
            const extra = qiniu.resume_up.PutExtra.create(
                name, vars, ask.mime_type, null, onProgress, ask.part_len, ask.how, metadata,
                recorder);
            upload = uploader.putFileV2(token, ask.key, ask.source, extra);
        }
        return { ...await answerOf(upload), progress };
    }

    stat(ask) {
        return answerOf(this.manager.stat(this.bucket, ask.key));
    }

    delete(ask) {
        return answerOf(this.manager.delete(this.bucket, ask.key));
    }

    list(ask) {
        const { prefix, marker, limit } = ask;
        return answerOf(this.manager.listPrefix(this.bucket, { prefix, marker, limit }));
    }
}

const peer = new Peer(JSON.parse(readLine()));
say({ sdk: require('qiniu/package.json').version });
for (let line = readLine(); line !== null; line = readLine()) {
    const ask = JSON.parse(line);
    // Lets idle connections notice that their server is gone.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    say(await peer[ask.do](ask));
}
