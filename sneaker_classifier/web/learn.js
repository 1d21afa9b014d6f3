// Teaching, in the worker: photos are looked at, what was seen is kept, rows are fitted to it, and a network with these rows answers.
import {nameOf, whole} from './answers.js';
import {about, sha256, taughtCard, withHead, zip} from './folder.js';
import * as kept from './kept.js';
import {lookTwice, picture} from './look.js';
import {BadImage, unpack} from './pictures.js';
import {backgroundColour, fitSquare, mirror, subjectBox} from './squares.js';
import {basisOf, classOf, isCopy, lesson, taughtRows} from './teach.js';

/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./kept.js').Photo} Photo */
/** @typedef {import('./look.js').Network & {close: () => void}} Network */
/** @typedef {import('./look.js').Rules} Rules */
/** @typedef {import('./squares.js').Picture} Picture */
/** @typedef {import('./teach.js').Basis} Basis */
/** @typedef {import('./teach.js').Rows} Rows */
/** @typedef {import('./teach.js').Shoes} Shoes */
/** @typedef {import('./teach.js').Teaching & {as_one: number, base: string, pictures: number, features: number, directions: number,
 *     low: number, high: number}} Teaching */
/** @typedef {{card: Card, rules: Rules, teaching: Teaching, model: ArrayBuffer, folder: string,
 *     open: (model: ArrayBuffer | Uint8Array, card: Card) => Promise<Network>, file: (path: string) => Promise<ArrayBuffer>}} Start
 *     `file` gives nothing where the page has no such file */
/** @typedef {{label: string, name: string, said: string, odd: {id: string, small: Uint8Array}[], advice: string[]}} Report */

export const side = 64; // pixels of the small pictures

const unkept = 'This browser keeps nothing for this page, perhaps because the window is private or the device is full, so teaching is '
    + 'not possible here.';

const full = 'This device has no room for what further photos would teach. What was learned before is kept.';

/** @template T @param {Promise<T>} doing */
const storing = doing => doing.catch(e => { throw Error(e?.name === 'QuotaExceededError' ? full : unkept); });

/** What shoes.bin holds: logits, directions, features in 256 levels, and whether the first answer is right
 * @param {ArrayBuffer} data @param {Teaching} of @param {number} classes @returns {Promise<Shoes>} */
async function shoesOf(data, {pictures, features, directions, low, high}, classes) {
    const unpacked = await new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
    const numbers = pictures*classes + directions*features, floats = new Float32Array(unpacked, 0, numbers);
    const levels = new Uint8Array(unpacked, 4*numbers, pictures*features);
    const rows = (/** @type {Float32Array} */ of, /** @type {number} */ n, at = 0, end = of.length) =>
        Array.from({length: (end - at)/n}, (_, i) => of.subarray(at + i*n, at + (i + 1)*n));
    return {logits: rows(floats, classes, 0, pictures*classes), along: rows(floats, features, pictures*classes),
        features: rows(Float32Array.from(levels, o => low + o*((high - low)/255)), features),
        right: new Uint8Array(unpacked, 4*numbers + levels.length)};
}

/** What was seen in a photo, and in its mirror image
 * @param {Float32Array} both */
const halves = both => [both.subarray(0, both.length/2), both.subarray(both.length/2)];

export class Learner {
    /** @type {Photo[]} */ photos = [];
    /** @type {Photo[]} */ fresh = []; // kept since rows were fitted
    /** @type {Rows | null} */ rows = null;
    /** @type {Uint8Array<ArrayBuffer> | null} */ changed = null;
    others = 0;
    /** @type {{shoes: Shoes, basis: Basis} | null} */ known = null;

    /** @param {Start} start @param {Network} network That of the model, as it is */
    constructor(start, network) {
        this.start = start;
        this.network = network;
        this.store = `sneakers ${start.folder}`;
        this.fit = {network: start.card.sha256['model.onnx'], features: start.teaching.features,
            logits: start.card.classes.length, labels: start.card.classes.map(o => o.label), side};
    }

    /** What is kept, from a page before this one or from another beside it, and a network that knows it */
    async refresh() {
        const {photos, others} = await storing(kept.all(this.store, this.fit));
        [this.photos, this.fresh, this.others] = [photos, [], others];
        const looks = this.looks(), {card, model, teaching} = this.start;
        if (!looks.length && this.network.card === card) return;
        [this.rows, this.changed] = [null, null]; // should anything below fail
        if (looks.length) {
            const {shoes, basis} = await this.prepare();
            this.rows = taughtRows(looks, this.labels(), shoes, basis, card.temperature, teaching);
            this.changed = withHead(new Uint8Array(model), this.rows, card.classes.length + this.labels().length,
                teaching.hair);
        }
        const next = await this.start.open(this.changed ?? model, this.card());
        this.network.close();
        this.network = next;
    }

    /** What is needed of what the model knows, fetched when somebody teaches */
    async prepare() {
        const {card, file, teaching} = this.start;
        if (!this.known) {
            const shoes = await shoesOf(await file('model/shoes.bin'), teaching, card.classes.length);
            this.known = {shoes, basis: basisOf(shoes)};
        }
        return this.known;
    }

    /** Names that have enough photos */
    labels() { return this.names().filter(label => this.photos.filter(o => o.label === label).length >= this.start.teaching.least); }
    names() { return [...new Set(this.photos.map(o => o.label))].sort(); }

    /** @returns {(import('./teach.js').Seen & {id: string, small: Uint8Array})[]} */
    looks() {
        const enough = this.labels();
        return this.photos.filter(o => enough.includes(o.label)).map(o => ({...o, features: halves(o.features), logits: halves(o.logits)}));
    }

    /** model.json of what answers, without sha256 */
    card() {
        const classes = this.labels().map(o => ({...classOf(o), photos: this.photos.filter(p => p.label === o).length}));
        return this.rows ? taughtCard(this.start.card, classes, this.rows, this.start.teaching.base) : this.start.card;
    }

    /** What the network says of a square, without the rows that were taught
     * @param {Picture} square */
    async plain(square) {
        const {logits, maps, features} = await this.network.run(square), n = this.fit.logits;
        return {logits: logits.slice(0, n), maps: maps.slice(0, maps.length/logits.length*n), features};
    }

    /** _look in 15_teach.ipynb @param {string} label @param {Blob} file @returns {Promise<Photo>} */
    async seen(label, file) {
        const {card, rules} = this.start, unpacked = await unpack(file, rules), {bitmap, data} = unpacked;
        try {
            const id = (await sha256(data)).slice(0, 32);
            const im = picture(unpacked, [0, 0, bitmap.width, bitmap.height], false, card), other = mirror(im);
            const {given} = await lookTwice(im, {card, run: o => this.plain(o)}, rules);
            const both = [given, await this.plain(fitSquare(other, card.detail, subjectBox(other, rules)))];
            return {label, id, network: this.fit.network, plain: backgroundColour(im, rules),
                features: Float32Array.from(both.flatMap(o => [...o.features ?? []])),
                logits: Float32Array.from(both.flatMap(o => [...o.logits])),
                small: /** @type {Photo['small']} */ (fitSquare(im, side, subjectBox(im, rules)).data)};
        } finally { bitmap.close(); }
    }

    /** Why a photo teaches nothing; nothing where it does
     * @param {Photo} photo */
    useless({id, label, features}) {
        const all = [...this.photos, ...this.fresh], elsewhere = all.find(o => o.id === id && o.label !== label);
        if (elsewhere) return `it is a photo of ${nameOf(classOf(elsewhere.label))} already`;
        const same = all.some(o => o.label === label && isCopy(halves(features), halves(o.features), this.start.teaching.as_one));
        return same ? 'it shows what another photo shows, and is counted once' : '';
    }

    /** Look at a photo and keep what was seen; gives half a sentence where it teaches nothing
     * @param {string} label @param {Blob} file */
    async add(label, file) {
        try {
            const photo = await this.seen(label, file), why = this.useless(photo);
            if (why) return why;
            await storing(kept.keep(this.store, photo));
            this.fresh.push(photo);
            return '';
        } catch (e) {
            if (e instanceof BadImage) return e.reason;
            throw e;
        }
    }

    /** @param {string[] | null} key As kept.js takes it; null is for what does not fit */
    async forget(key) {
        await storing(key ? kept.forget(this.store, key) : kept.tidy(this.store, this.fit));
        await this.refresh();
    }

    /** How well each name was taught @returns {Report[]} */
    reports() {
        const looks = this.looks(), taught = this.labels(), {card: {classes}, teaching} = this.start, rows = this.rows;
        const labels = [...taught, ...classes.map(o => o.label)], names = [...taught.map(o => nameOf(classOf(o))), ...classes.map(nameOf)];
        return this.names().map(label => {
            const name = nameOf(classOf(label)), n = this.photos.filter(o => o.label === label).length;
            const photos = `${n} photo${n > 1 ? 's' : ''}`;
            if (!rows || !taught.includes(label)) return {label, name, odd: [], advice: [],
                said: `${photos} so far. Ten are good, five may do.`};
            const {found, sure, takenFor, odd, advice} = lesson(label, looks, rows, labels, names, teaching);
            const kinds = takenFor.slice(0, 3).map(([o, n]) => `${o} (${n})`).join(', ');
            const others = kinds && ` Others are taken for ${kinds}.`;
            return {label, name, advice, odd: odd.map(i => ({id: looks[i].id, small: looks[i].small})),
                said: `${photos}; asked of what the others taught, ${whole(found)} are found, ${whole(sure)} surely.${others}`};
        });
    }

    /** What the model had learned, and the photos that were taught: split.csv */
    async split() {
        const data = await this.start.file('model/split.csv').catch(e => {
            throw Error(`The list of what the network has learned from is needed for this. ${e.message}`);
        });
        const [head = '', ...before] = new TextDecoder().decode(data).trim().split('\n'), short = head.trim() === 'id,is_valid';
        const taught = this.looks().map(o => `${o.id},False,`);
        return `${['id,is_valid,print', ...taught, ...before.map(o => short ? `${o.trim()},` : o.trim())].join('\n')}\n`;
    }

    /** The model folder, in a zip */
    async zipped() {
        const network = this.changed;
        if (!network) throw Error('There is nothing to take along yet.');
        const split = await this.split(), card = this.card();
        card.sha256 = {'model.onnx': await sha256(network), 'split.csv': await sha256(new TextEncoder().encode(split))};
        const inUse = this.reports().filter(o => this.labels().includes(o.label));
        const lessons = inUse.map(o => [`${o.label}: ${o.said}`, ...o.advice].join(' '));
        return zip({'taught/model.onnx': network, 'taught/split.csv': split,
            'taught/MODEL_CARD.md': about(this.start.teaching.base, lessons), 'taught/model.json': JSON.stringify(card, null, 1)});
    }
}
