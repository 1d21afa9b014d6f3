// Loads the network, answers and is taught, beside the page, so that nothing on it stutters.
import {nameOf} from './answers.js';
import {sha256} from './folder.js';
import {Learner} from './learn.js';
import {lookTwice, mapsOf, picture} from './look.js';
import {BadImage, checkSize, inPixels, unpack} from './pictures.js';
import {classOf, toLabel, wrongName} from './teach.js';

/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./learn.js').Network} Network */
/** @typedef {import('./learn.js').Teaching} Teaching */
/** @typedef {import('./squares.js').Box} Box */
/** @typedef {import('./look.js').Rules & {sizes: Record<string, number>, sha256: Record<string, string>, teach?: Teaching
 *     & {pictures: number, features: number, low: number, high: number}}} Numbers numbers.json */

const folder = `${new URL('.', location.href)}`, runtime = `${folder}runtime/`;

/** @param {string} path */
async function json(path) {
    const said = await fetch(folder + path, {cache: 'no-cache'});
    if (!said.ok) throw Error(`${path} is missing (${said.status}).`);
    return said.json();
}

/** Fetches large files and tells how far they have come, counted in bytes after unpacking
 * @param {Record<string, number>} sizes */
function loader(sizes) {
    const all = Object.values(sizes).reduce((a, b) => a + b, 0);
    let done = 0;
    return async (/** @type {string} */ path, /** @type {string} */ version) => {
        const said = await fetch(`${folder}${path}?${version}`);
        if (!said.ok || !said.body) throw Error(`${path} is missing (${said.status}).`);
        const parts = [], reader = said.body.getReader();
        for (let part; !(part = await reader.read()).done;) {
            parts.push(part.value);
            done += part.value.length;
            postMessage({kind: 'loading', share: Math.min(1, done/all)});
        }
        const data = await new Blob(parts).arrayBuffer();
        if (!crypto.subtle) throw Error('Browsers check files only on pages that come by https or from this machine (localhost). Open this one so.');
        if (await sha256(data) !== version) throw Error(`${path} is not the file that was put here: its sha256 differs. Load the page again.`);
        return data;
    };
}

/** What shoes.bin holds: logits, features in 256 levels, and whether the first answer is right
 * @param {ArrayBuffer} data @param {NonNullable<Numbers['teach']>} of @param {number} classes */
async function shoesOf(data, {pictures, features, low, high}, classes) {
    const unpacked = await new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
    const logits = new Float32Array(unpacked, 0, pictures*classes), levels = new Uint8Array(unpacked, 4*logits.length, pictures*features);
    const all = Float32Array.from(levels, o => low + o*((high - low)/255)), each = Array.from({length: pictures}, (_, i) => i);
    return {logits: each.map(i => logits.subarray(i*classes, (i + 1)*classes)),
        features: each.map(i => all.subarray(i*features, (i + 1)*features)),
        right: new Uint8Array(unpacked, 4*logits.length + levels.length)};
}

/** @param {any} ort ONNX Runtime @param {ArrayBuffer | Uint8Array} model @param {Card} card @returns {Promise<Network>} */
async function opened(ort, model, card) {
    const session = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ['wasm']});
    /** @type {Network['run']} */
    const run = async square => {
        const given = new ort.Tensor('uint8', square.data, [1, square.height, square.width, 3]);
        const {logits, evidence, features} = await session.run({[session.inputNames[0]]: given});
        return {logits: logits.data, maps: evidence.data, features: features?.data};
    };
    await run({width: card.detail, height: card.detail, data: new Uint8Array(3*card.detail**2)}); // the first run takes longer
    return {card, run, close: () => session.release()};
}

async function load() {
    /** @type {[Card, Numbers]} */
    const [card, numbers] = await Promise.all([json('model/model.json'), json('numbers.json')]);
    const fetched = loader(numbers.sizes), large = (/** @type {string} */ path) => fetched(path, numbers.sha256[path]);
    const [ort, binary, model, shoes] = await Promise.all([import('./runtime/ort.wasm.min.mjs'),
        large('runtime/ort-wasm-simd-threaded.wasm'), fetched('model/model.onnx', card.sha256['model.onnx']),
        numbers.teach ? large('model/shoes.bin') : null]);
    ort.env.wasm.numThreads = 1; // more need headers that few hosts of static pages send
    ort.env.wasm.wasmPaths = {mjs: `${runtime}ort-wasm-simd-threaded.mjs`};
    ort.env.wasm.wasmBinary = binary;
    const open = opened.bind(null, ort), network = await open(model, card), {teach: teaching} = numbers;
    const learner = teaching && shoes && new Learner({card, rules: numbers, teaching, model, folder, open,
        shoes: await shoesOf(shoes, teaching, card.classes.length)}, network);
    return {numbers, network, learner};
}
const loaded = load();

// One thing at a time: a network is not changed while it is asked.

/** @type {(e: unknown) => string[]} */
const sentence = e => [e instanceof Error ? e.message : String(e)];
const woken = loaded.then(({learner}) => learner?.refresh().then(() => [], sentence) ?? []);
/** @type {Promise<unknown>} */ let last = woken;
/** @template T @param {() => Promise<T>} what @returns {Promise<T>} */
function inTurn(what) {
    const next = last.then(what);
    last = next.catch(() => {});
    return next;
}

const largest = 1600; // pixels of a photo that is shown

/** A part of a photo, no larger than a screen needs it
 * @param {ImageBitmap} bitmap @param {Box} part In pixels */
function toShow(bitmap, [left, top, right, bottom]) {
    const [width, height] = [right - left, bottom - top], scale = Math.min(1, largest/Math.max(width, height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(scale*width)), Math.max(1, Math.round(scale*height)));
    const context = canvas.getContext('2d');
    if (context) context.imageSmoothingQuality = 'high';
    context?.drawImage(bitmap, left, top, width, height, 0, 0, canvas.width, canvas.height);
    return canvas.transferToImageBitmap();
}

/** @param {Blob} file @param {Box | null} box The part to look at, in shares of the sides */
async function ask(file, box) {
    const {numbers, ...start} = await loaded, unpacked = await unpack(file, numbers), {bitmap} = unpacked;
    try {
        const part = inPixels(box ?? [0, 0, 1, 1], bitmap), size = {width: part[2] - part[0], height: part[3] - part[1]};
        checkSize(size.width, size.height, numbers);
        const network = start.learner?.network ?? start.network;
        const found = await lookTwice(picture(unpacked, part, !!box, network.card), network, numbers);
        return {answer: found.answer, maps: mapsOf(found, size, network.card, numbers), photo: toShow(bitmap, part)};
    } finally { bitmap.close(); }
}

/** @param {number} id @param {Blob} file @param {Box | null} box */
async function reply(id, file, box) {
    try {
        const answered = await inTurn(() => ask(file, box));
        postMessage({kind: 'answer', id, ...answered}, {transfer: [answered.photo]});
    }
    catch (e) {
        const said = e instanceof BadImage ? e.message : `Something went wrong: ${e instanceof Error ? e.message : e}`;
        postMessage({kind: 'answer', id, error: said});
    }
}

// Teaching

const changes = new BroadcastChannel(`sneakers ${folder}`); // to the same page in other tabs

/** Do something, and tell what is taught then
 * @param {(learner: Learner) => Promise<string[]>} what Gives sentences */
async function teaching(what) {
    const {learner} = await loaded;
    if (!learner) return;
    const said = await what(learner).catch(sentence);
    await inTurn(async () => postMessage({kind: 'taught', card: learner.network.card, reports: learner.reports(), others: learner.others, said,
        known: learner.fit.labels}));
}

/** @param {Learner} learner @param {string} name @param {{name: string, file: Blob}[]} files */
async function teach(learner, name, files) {
    const label = toLabel(name), said = [], wrong = wrongName(name, learner.fit.labels);
    if (wrong) throw Error(wrong);
    try {
        for (const [i, {name, file}] of files.entries()) {
            postMessage({kind: 'teaching', said: `Looking at photo ${i + 1} of ${files.length} …`});
            const why = await inTurn(() => learner.add(label, file));
            if (why) said.push(`${name} taught nothing: ${why}.`);
        }
        postMessage({kind: 'teaching', said: 'Learning …'});
    } finally {
        await inTurn(() => learner.refresh());
        changes.postMessage('changed');
    }
    const ready = learner.labels().includes(label);
    return ready ? [...said, `${nameOf(classOf(label))} is in use: the page knows ${learner.network.card.classes.length} models now.`] : said;
}

/** @param {Learner} learner @param {string[]} key */
async function forget(learner, key) {
    await inTurn(() => learner.forget(key));
    changes.postMessage('changed');
    return [key.length > 1 ? 'The photo is left out.' : `${key.length ? nameOf(classOf(key[0])) : 'All that was taught'} is forgotten.`];
}

changes.onmessage = () => teaching(async learner => {
    await inTurn(() => learner.refresh());
    return [];
});

/** @param {Learner} learner */
async function takeAlong(learner) {
    postMessage({kind: 'folder', zip: await inTurn(() => learner.zipped())});
    return ['taught.zip holds a model folder. Unpacked, it goes to sneaker-predict or sneaker-app, with --model.'];
}

onmessage = async ({data}) => {
    if (data.file) return reply(data.id, data.file, data.box);
    if (data.teach) await teaching(o => teach(o, data.teach.name, data.teach.files));
    if (data.forget) await teaching(o => forget(o, data.forget));
    if (data.folder) await teaching(takeAlong);
};

woken.then(async said => {
    await teaching(async () => said);
    const {network, learner} = await loaded;
    postMessage({kind: 'ready', card: (learner ?? {network}).network.card});
}, e => postMessage({kind: 'failed', said: String(e.message ?? e)}));
