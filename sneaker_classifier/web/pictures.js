// The only door for a picture, as 01_images.ipynb has it: what is refused, in which words, and how the rest is unpacked.
import {blank, paste, reduce, round} from './squares.js';

/** @typedef {import('./squares.js').Picture} Picture */
/** @typedef {import('./squares.js').Box} Box */
/** @typedef {{max_megabytes: number, max_megapixels: number, min_side: number, max_aspect: number}} Limits */
/** @typedef {{limits: Limits, formats: string[], bomb: number}} Door What settings.ini and Pillow allow */

export class BadImage extends Error {
    /** @param {string} reason Half a sentence */
    constructor(reason) {
        super(`This picture cannot be used: ${reason}.`);
        this.reason = reason;
    }
}

/** @param {Uint8Array} data @param {number} from @param {number} to */
const letters = (data, from, to) => String.fromCharCode(...data.subarray(from, to));
/** @param {Uint8Array} data */
const view = data => new DataView(data.buffer, data.byteOffset, data.byteLength);
const damaged = 'the file is damaged or cut off';

// Kinds of files, by their first bytes

/** Major and further brands at the start of a HEIF or AVIF
 * @param {string} head */
function brands(head) {
    if (head.slice(4, 8) !== 'ftyp') return [];
    const size = head.charCodeAt(2)*256 + head.charCodeAt(3), found = [head.slice(8, 12)];
    for (let i = 16; i < Math.min(size, 256); i += 4) found.push(head.slice(i, i + 4));
    return found;
}
const avif = /^avi[fs]$/, coded = /^(hei[cxms]|hev[cx])$/, general = /^[mi]{2}f1$|^msf1$/;

/** One of the formats that are taken; undefined where it is none
 * @param {string} head */
function formatOf(head) {
    if (head.startsWith('\xff\xd8\xff')) return 'JPEG';
    if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'PNG';
    if (/^RIFF[^]{4}WEBP/.test(head)) return 'WEBP';
    if (/^GIF8[79]a/.test(head)) return 'GIF';
    const named = brands(head), isAvif = named.some(o => avif.test(o));
    if (coded.test(named[0]) || (!isAvif && named.some(o => coded.test(o) || general.test(o)))) return 'HEIF';
    if (isAvif) return 'AVIF';
}

const raw = 'a camera\'s raw photo';
/** @type {[RegExp, string][]} */
const otherPictures = [[/^BM/, 'a BMP'], [/^8BPS/, 'a PSD of Photoshop'], [/^\0\0\x01\0/, 'an icon (ICO)'],
    [/^\0\0\x02\0/, 'a cursor or a TGA'], [/^icns/, 'an icon (ICNS)'], [/^(\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n)/, 'a JPEG 2000'],
    [/^qoif/, 'a QOI'], [/^DDS /, 'a DDS'], [/^(%!PS|\xc5\xd0\xd3\xc6)/, 'an EPS'], [/^(\xd7\xcd\xc6\x9a\0\0|\x01\0\0\0)/, 'a WMF'],
    [/^\/\* XPM \*\//, 'an XPM'], [/^(\xff\x0a|\0\0\0\x0cJXL )/, 'a JPEG XL'],
    [/^(FUJIFILMCCD-RAW|IIU\0|IIRO|IIRS|MMOR|FOVb|[^]{4}ftypcrx )/, raw]];
/** @type {[RegExp, string][]} */
const otherFiles = [[/^[^]{4}(ftyp|moov|mdat|wide)|^RIFF[^]{4}AVI /, 'a video'], [/^%PDF/, 'a PDF'],
    [/^PK\x03\x04/, 'a ZIP archive or an office document'], [/^OggS/, 'a video or a sound'], [/^ID3/, 'a sound'],
    [/^(\x1f\x8b|Rar!|7z\xbc\xaf)/, 'an archive'], [/^(\x1aE\xdf\xa3|\0\0\x01\xba|FLV\x01)/, 'a video']];

/** A TIFF, or a raw photo, which is one with a version of DNG, or with a maker and pictures inside pictures
 * @param {Uint8Array} data */
function tiffKind(data) {
    const o = view(data), little = data[0] === 0x49, /** @type {number[]} */ tags = [];
    try {
        const table = o.getUint32(4, little);
        for (let i = 0; i < o.getUint16(table, little); i++) tags.push(o.getUint16(table + 2 + 12*i, little));
    } catch { /* what could be read before it broke is there */ }
    const [version, make, within] = [0xc612, 0x10f, 0x14a].map(tag => tags.includes(tag));
    return letters(data, 8, 10) === 'CR' || version || (make && within) ? raw : 'a TIFF';
}

/** A kind of file that is no picture, in words; undefined where it is none that we know
 * @param {Uint8Array} data @param {string} head */
function fileKind(data, head) {
    const found = otherFiles.find(([start]) => start.test(head));
    if (found) return found[1];
    let text;
    try { text = new TextDecoder('utf-8', {fatal: true}).decode(data.subarray(0, 1000), {stream: true}).toLowerCase(); } catch { return; }
    if (/(?!\s)[\p{C}\p{Z}]/u.test(text)) return;
    if (text.includes('<svg')) return 'an SVG drawing; save it as PNG';
    return /<(!doctype )?html/.test(text) ? 'a web page' : 'text';
}

/** Why bytes are refused of which no format is known
 * @param {Uint8Array} data @param {string[]} formats */
function whyNot(data, formats) {
    const head = letters(data, 0, 256);
    const picture = /^(II\*\0|MM\0\*|II\+\0|MM\0\+)/.test(head) ? tiffKind(data) : otherPictures.find(([start]) => start.test(head))?.[1];
    if (picture) return `it is ${picture}; save it as JPEG or PNG`;
    const file = fileKind(data, head);
    return file ? `it is not a picture, but ${file}` : `it is not a picture, or of a kind that is not accepted (${formats.join(', ')})`;
}

// How many pixels there are, before they are unpacked, and whether the end of the file is there

/** @param {Uint8Array} data */
function readJpeg(data) {
    const o = view(data);
    for (let at = 2, size = null; ;) {
        if (data[at] !== 0xff) throw RangeError();
        const kind = data[at + 1];
        if (kind === 0xff) { at++; continue; } // one of any number of fillers
        if (kind === 0xda) {
            // The mark of the end, somewhere after the start of the scan: what is cut off has none.
            for (let i = at; i < data.length - 1; i++) if (data[i] === 0xff && data[i + 1] === 0xd9) return size;
            return null;
        }
        if (kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind)) size = [o.getUint16(at + 7), o.getUint16(at + 5)];
        at += 2 + o.getUint16(at + 2);
    }
}

/** @param {Uint8Array} data */
function readPng(data) {
    const o = view(data);
    for (let at = 8; ; at += 12 + o.getUint32(at)) if (letters(data, at + 4, at + 8) === 'IEND') return [o.getUint32(16), o.getUint32(20)];
}

/** @param {Uint8Array} data */
function readWebp(data) {
    const o = view(data), kind = letters(data, 12, 16);
    if (o.getUint32(4, true) + 8 > data.length) return null;
    if (kind === 'VP8X') return [24, 27].map(i => 1 + o.getUint16(i, true) + (data[i + 2] << 16));
    if (kind === 'VP8L') return [1 + (o.getUint32(21, true) & 0x3fff), 1 + (o.getUint32(21, true) >> 14 & 0x3fff)];
    return [26, 28].map(i => o.getUint16(i, true) & 0x3fff);
}

/** HEIF and AVIF: the largest of the sizes that its table of contents tells, which a photo made of tiles has as a whole
 * @param {Uint8Array} data */
function readBoxes(data) {
    const o = view(data);
    let size = null;
    for (let at = 0; at + 8 <= data.length;) {
        let length = o.getUint32(at) || data.length - at;
        if (length === 1) length = Number(o.getBigUint64(at + 8));
        if (length < 8 || at + length > data.length) return null;
        if (letters(data, at + 4, at + 8) === 'meta') for (let i = at; i + 16 <= at + length; i++) {
            if (data[i] !== 0x69 || letters(data, i, i + 4) !== 'ispe') continue;
            const [w, h] = [o.getUint32(i + 8), o.getUint32(i + 12)];
            if (!size || w*h > size[0]*size[1]) size = [w, h];
        }
        at += length;
    }
    return size;
}

/** @param {Uint8Array} data */
const readGif = data => [6, 8].map(i => view(data).getUint16(i, true));
/** @type {Record<string, (data: Uint8Array) => number[] | null>} */
const readers = {JPEG: readJpeg, PNG: readPng, WEBP: readWebp, GIF: readGif, AVIF: readBoxes, HEIF: readBoxes};

const grouped = (/** @type {number} */ n) => n.toLocaleString('en');

/** @param {number} width @param {number} height @param {Door} door */
export function checkSize(width, height, {limits}) {
    const most = `${limits.max_megapixels} million`;
    if (Math.min(width, height) < limits.min_side)
        throw new BadImage(`it is only ${width} × ${height} pixels; each side needs at least ${limits.min_side}`);
    if (width*height > limits.max_megapixels*1e6)
        throw new BadImage(`it is ${grouped(width)} × ${grouped(height)} pixels; at most ${most} are allowed`);
    if (Math.max(width, height) > limits.max_aspect*Math.min(width, height))
        throw new BadImage(`it is ${width} × ${height} pixels; one side may be at most ${limits.max_aspect} times the other`);
}

/** Check a file without unpacking it
 * @param {Blob} file @param {Door} door */
async function checked(file, door) {
    if (file.size > door.limits.max_megabytes*1e6) throw new BadImage(`the file is larger than ${door.limits.max_megabytes} MB`);
    let data;
    try { data = new Uint8Array(await file.arrayBuffer()); } catch { throw new BadImage('it cannot be read; choose it again'); }
    if (!data.length) throw new BadImage('the file is empty');
    const format = formatOf(letters(data, 0, 256));
    if (!format) throw new BadImage(whyNot(data, door.formats));
    let size = null;
    try { size = readers[format](data); } catch (e) { if (!(e instanceof RangeError)) throw e; }
    if (!size) throw new BadImage(damaged);
    // Pillow, which reads all but HEIF, speaks first.
    if (size[0]*size[1] > door.bomb && format !== 'HEIF')
        throw new BadImage(`it has more pixels than the ${door.limits.max_megapixels} million that are allowed`);
    checkSize(size[0], size[1], door);
    return {format, data};
}

// Unpacking

/** What the browser makes of a file, turned upright and in sRGB
 * @param {Blob} file @param {Door} door */
export async function unpack(file, door) {
    const {format, data} = await checked(file, door);
    let bitmap;
    try { bitmap = await createImageBitmap(file); }
    catch { throw new BadImage(format === 'HEIF' ? 'this browser does not open HEIF; save it as JPEG or PNG' : damaged); }
    try { checkSize(bitmap.width, bitmap.height, door); } catch (e) { bitmap.close(); throw e; }
    return {format, bitmap, data};
}

const tile = 1024; // pixels: phones have canvases of a few million pixels and no more

/** The pixels of a part of a picture, on white, in blocks of `n` × `n` averaged into one
 * @param {ImageBitmap} bitmap @param {Box} box @param {number} n @returns {Picture} */
export function pixels(bitmap, [left, top, right, bottom], n) {
    const all = blank(Math.ceil((right - left)/n), Math.ceil((bottom - top)/n)), step = n*Math.floor(tile/n);
    const canvas = new OffscreenCanvas(Math.min(step, right - left), Math.min(step, bottom - top));
    const context = canvas.getContext('2d', {alpha: false, willReadFrequently: true});
    if (!context) throw Error('The browser gives no canvas.');
    for (let y = top; y < bottom; y += step) for (let x = left; x < right; x += step) {
        const width = Math.min(step, right - x), height = Math.min(step, bottom - y), part = blank(width, height);
        context.fillStyle = 'white';
        context.fillRect(0, 0, width, height);
        context.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
        const {data} = context.getImageData(0, 0, width, height);
        for (let i = 0, j = 0; i < data.length; i += 4) { part.data[j++] = data[i]; part.data[j++] = data[i+1]; part.data[j++] = data[i+2]; }
        paste(all, n > 1 ? reduce(part, n) : part, (x - left)/n, (y - top)/n);
    }
    return all;
}

/** How far Pillow's draft reduces a JPEG of which a square is made: 8, 4, 2 or 1 times
 * @param {number} width @param {number} height @param {number} square */
export function draft(width, height, square) {
    const side = 2*Math.floor(3*square/2), longer = Math.max(width, height);
    const times = Math.min(...[width, height].map(o => Math.floor(o/Math.max(1, Math.floor(side*o/longer)))));
    return [8, 4, 2].find(o => times >= o) ?? 1;
}

/** A box in shares of the sides, in pixels
 * @param {Box} box @param {{width: number, height: number}} im @returns {Box} */
export const inPixels = (box, im) => box.map((o, i) => round(o*(i%2 ? im.height : im.width)));
