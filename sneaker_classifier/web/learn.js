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
/** @typedef {import('./look.js').Rules & {sha256: Record<string, string>}} Rules */
/** @typedef {import('./squares.js').Picture} Picture */
/** @typedef {import('./teach.js').Basis} Basis */
/** @typedef {import('./teach.js').Rows} Rows */
/** @typedef {import('./teach.js').Shoes} Shoes */
/** @typedef {import('./teach.js').Teaching & {as_one: number, base: string}} Teaching */
/** @typedef {{card: Card, rules: Rules, shoes: Shoes, teaching: Teaching, model: ArrayBuffer, folder: string,
 *     open: (model: ArrayBuffer | Uint8Array, card: Card) => Promise<Network>}} Start */
/** @typedef {{label: string, name: string, photos: number, said: string, odd: {id: string, small: Uint8Array}[], advice: string[]}} Report */

export const side = 64; // pixels of the small pictures

const unkept = 'This browser keeps nothing for this page, perhaps because the window is private or the device is full, so teaching is '
    + 'not possible here.';

/** @template T @param {Promise<T>} doing */
const storing = doing => doing.catch(() => { throw Error(unkept); });

/** @template T @param {T} a @param {T} b */
const inOrder = (a, b) => a < b ? -1 : a > b ? 1 : 0;

/** What was seen in a photo, and in its mirror image
 * @param {Float32Array} both */
const halves = both => [both.subarray(0, both.length/2), both.subarray(both.length/2)];

export class Learner {
    /** @type {Photo[]} */ photos = [];
    /** @type {Photo[]} */ fresh = []; // kept since rows were fitted
    /** @type {Rows | null} */ rows = null;
    /** @type {Uint8Array<ArrayBuffer> | null} */ changed = null;
    others = 0;
    /** @type {Basis | null} */ basis = null;

    /** @param {Start} start @param {Network} network That of the model, as it is */
    constructor(start, network) {
        this.start = start;
        this.network = network;
        this.store = `sneakers ${start.folder}`;
        this.fit = {network: start.card.sha256['model.onnx'], features: start.shoes.features[0].length, logits: start.card.classes.length,
            labels: start.card.classes.map(o => o.label), side};
    }

    /** What is kept, from a page before this one or from another beside it, and a network that knows it */
    async refresh() {
        const {photos, others} = await storing(kept.all(this.store, this.fit));
        [this.photos, this.fresh, this.others] = [photos, [], others];
        const looks = this.looks(), {card, model, shoes, teaching} = this.start;
        if (!looks.length && !this.rows) return;
        this.basis ??= basisOf(shoes.features);
        this.rows = looks.length ? taughtRows(looks, this.labels(), shoes, this.basis, card.temperature, teaching) : null;
        this.changed = this.rows && withHead(new Uint8Array(model), this.rows, card.classes.length + this.labels().length);
        const next = await this.start.open(this.changed ?? model, this.card());
        this.network.close();
        this.network = next;
    }

    /** Names that have enough photos */
    labels() { return this.names().filter(label => this.photos.filter(o => o.label === label).length >= this.start.teaching.least); }
    names() { return [...new Set(this.photos.map(o => o.label))].sort(inOrder); }

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
    async known(square) {
        const {logits, maps, features} = await this.network.run(square), n = this.fit.logits;
        return {logits: logits.slice(0, n), maps: maps.slice(0, maps.length/logits.length*n), features};
    }

    /** _look in 15_teach.ipynb @param {string} label @param {Blob} file @returns {Promise<Photo>} */
    async seen(label, file) {
        const {card, rules} = this.start, unpacked = await unpack(file, rules), {bitmap} = unpacked;
        const id = (await sha256(await file.arrayBuffer())).slice(0, 32);
        try {
            const im = picture(unpacked, [0, 0, bitmap.width, bitmap.height], false, card), other = mirror(im);
            const {given} = await lookTwice(im, {card, run: o => this.known(o)}, rules);
            const both = [given, await this.known(fitSquare(other, card.detail, subjectBox(other, rules)))];
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

    /** @param {string[]} key As kept.js takes it */
    async forget(key) {
        await storing(kept.forget(this.store, key));
        await this.refresh();
    }

    /** How well each name was taught @returns {Report[]} */
    reports() {
        const looks = this.looks(), taught = this.labels(), {card: {classes}, teaching} = this.start, rows = this.rows;
        const labels = [...taught, ...classes.map(o => o.label)], names = [...taught.map(o => nameOf(classOf(o))), ...classes.map(nameOf)];
        return this.names().map(label => {
            const name = nameOf(classOf(label)), n = this.photos.filter(o => o.label === label).length;
            const photos = `${n} photo${n > 1 ? 's' : ''}`;
            if (!rows || !taught.includes(label)) return {label, name, photos: n, odd: [], advice: [],
                said: `${photos} so far. Ten are good, five may do, ${teaching.least} are the least.`};
            const {found, sure, takenFor, odd, advice} = lesson(label, looks, rows, labels, names, teaching);
            const others = takenFor.length ? ` Others are taken for ${takenFor.slice(0, 3).map(([o, n]) => `${o} (${n})`).join(', ')}.` : '';
            return {label, name, photos: n, advice, odd: odd.map(i => ({id: looks[i].id, small: looks[i].small})),
                said: `${photos}; asked of what the others taught, ${whole(found)} are found, ${whole(sure)} surely.${others}`};
        });
    }

    /** What the model had learned, and the photos that were taught: split.csv */
    async split() {
        const sha = this.start.rules.sha256['model/split.csv'], taught = this.looks().map(o => `${o.id},False,`);
        const found = sha ? await fetch(`${this.start.folder}model/split.csv`, {cache: 'no-cache'}).catch(() => null) : new Response('');
        const data = found?.ok ? await found.arrayBuffer() : null;
        if (!data || (sha && await sha256(data) !== sha)) throw Error('The list of what the network has learned from is needed for this, and '
            + 'cannot be had now. Connect to the web, load the page\'s newest version, and press again.');
        const [head = '', ...before] = new TextDecoder().decode(data).trim().split('\n'), short = head.trim() === 'id,is_valid';
        return `${['id,is_valid,print', ...taught, ...before.map(o => short ? `${o.trim()},` : o.trim())].join('\n')}\n`;
    }

    /** The model folder, in a zip */
    async zipped() {
        const network = this.changed;
        if (!network) throw Error('There is nothing to take along yet.');
        const split = await this.split(), card = this.card();
        card.sha256 = {'model.onnx': await sha256(network), 'split.csv': await sha256(new TextEncoder().encode(split))};
        const lessons = this.reports().filter(o => this.labels().includes(o.label)).map(o => [`${o.label}: ${o.said}`, ...o.advice].join(' '));
        return zip({'taught/model.onnx': network, 'taught/split.csv': split, 'taught/MODEL_CARD.md': about(this.start.teaching.base, lessons),
            'taught/model.json': JSON.stringify(card, null, 1)});
    }
}
