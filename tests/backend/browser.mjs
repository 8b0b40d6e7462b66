// Opens the page of the example `backend` in headless Chromium, chooses files, and tells what became of
// them: browser.mjs FOLDER URL FILE… The folder is the one that holds node_modules.
//
// Prints one JSON array: of each file its name, the last words and their class, and every value that the
// bar had, in order.

import path from 'node:path';
import { createRequire } from 'node:module';

const [folder, url, ...files] = process.argv.slice(2);
const require = createRequire(path.join(folder, 'package.json'));
const { chromium } = require('playwright-core');

// Longest wait for a page on this machine, in milliseconds.
const PATIENCE_MS = 60_000;

// The browser's line.
const UPLOAD_BYTES_PER_S = 6_000_000;

const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
        '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
});
try {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    page.on('pageerror', error => complaints.push(String(error)));
    await page.goto(url);
    // A line that gives the bar time to be seen.
    const network = await page.context().newCDPSession(page);
    await network.send('Network.enable');
    await network.send('Network.emulateNetworkConditions', {
        offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: UPLOAD_BYTES_PER_S,
    });
    await page.evaluate(() => {
        const note = ({ target }) => (target.seen ??= []).push(target.value);
        const watch = new MutationObserver(changes => changes.forEach(note));
        watch.observe(document, { subtree: true, attributes: true, attributeFilter: ['value'] });
    });
    await page.setInputFiles('input[type=file]', files);
    await page.click('button');
    const rows = await page.waitForFunction(count => {
        const rows = [...document.querySelectorAll('li')].map(row => ({
            name: row.querySelector('b').textContent,
            words: row.querySelector('span').textContent,
            state: row.querySelector('span').className,
            seen: row.querySelector('progress').seen ?? [],
        }));
        return rows.length === count && rows.every(row => row.state) && rows;
    }, files.length);
    const told = await rows.jsonValue();
    if (complaints.length > 0) throw new Error(complaints.join('\n'));
    console.log(JSON.stringify(told));
} finally {
    await browser.close();
}
