// Looks at a picture, once or twice, as 03_predict.ipynb does, and at where the evidence lies.
import {answer, evidence, heat, smallPart, spokeFor, where, within} from './answers.js';
import {draft, inPixels, pixels} from './pictures.js';
import {crop, fitSquare, subjectBox} from './squares.js';

/** @typedef {import('./answers.js').Answer} Answer */
/** @typedef {import('./answers.js').Card} Card */
/** @typedef {import('./squares.js').Box} Box */
/** @typedef {import('./squares.js').Picture} Picture */
/** @typedef {import('./pictures.js').Door & import('./squares.js').Margins & import('./answers.js').Thresholds & {map_side: number}} Rules */
/** @typedef {{logits: Float32Array, maps: Float32Array, features?: Float32Array}} Given What a network gives */
/** @typedef {{card: Card, run: (square: Picture) => Promise<Given>}} Network */
/** @typedef {{given: Given, answer: Answer, seen: Box, closer: Box | null}} Look `seen` is what the square shows, in shares */
/** @typedef {{name: string, width: number, height: number, pixels: Uint8ClampedArray<ArrayBuffer>, where: string}} EvidenceMap */

const shown = 3; // of the likeliest

/** SneakerClassifier._look: an answer, and, where it is not likely, the small part that spoke for it
 * @param {Picture} im @param {Network} network @param {Rules} rules @returns {Promise<Look>} */
async function look(im, {card, run}, rules) {
    const [left, top, right, bottom] = subjectBox(im, rules), box = [left, top, right, bottom];
    const given = await run(fitSquare(im, card.detail, box)), p = answer(given.logits, card, rules);
    const seen = within([0, 0, 1, 1], box, im.width, im.height);
    if (p.confidence >= rules.likely) return {given, answer: p, seen, closer: null};
    const i = card.classes.findIndex(o => o.label === p.label), grid = spokeFor(given.maps, i, card.classes.length);
    const part = smallPart(grid, right - left, bottom - top, rules);
    return {given, answer: p, seen, closer: part && within(part, box, im.width, im.height)};
}

/** SneakerClassifier._look_twice
 * @param {Picture} im @param {Network} network @param {Rules} rules @returns {Promise<Look>} */
export async function lookTwice(im, network, rules) {
    const first = await look(im, network, rules);
    if (!first.closer) return first;
    const box = inPixels(first.closer, im);
    if (Math.min(box[2] - box[0], box[3] - box[1]) < rules.limits.min_side) return first;
    const second = await look(crop(im, box), network, rules);
    if (second.answer.confidence < rules.clear) return first;
    return {...second, answer: {...second.answer, box: first.closer}, seen: within(second.seen, box, im.width, im.height)};
}

/** @param {Look} found @param {{width: number, height: number}} im @param {Card} card @param {Rules} rules @returns {EvidenceMap[]} */
export function mapsOf({given, answer, seen}, im, {classes}, rules) {
    const scale = Math.min(1, rules.map_side/Math.max(im.width, im.height));
    const [width, height] = [im.width, im.height].map(o => Math.max(1, Math.round(scale*o)));
    return answer.scores.slice(0, shown).map(({label, name}) => {
        const i = classes.findIndex(o => o.label === label);
        const spoke = evidence(spokeFor(given.maps, i, classes.length), seen, width, height);
        return {name, width, height, pixels: heat(spoke), where: where(spoke, width)};
    });
}

/** A part of a picture as the network needs it
 * @param {{format: string, bitmap: ImageBitmap}} file @param {Box} part In pixels @param {boolean} cut @param {Card} card */
export function picture({format, bitmap}, part, cut, card) {
    const times = draft(part[2] - part[0], part[3] - part[1], card.detail);
    return pixels(bitmap, part, format === 'JPEG' || cut ? times : 1);
}
