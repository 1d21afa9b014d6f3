// From a picture to the square that the network sees, number for number as 01_images.ipynb and Pillow make it.
// The browser's own resizing differs from browser to browser, and so would the answers.

/** @typedef {{width: number, height: number, data: Uint8Array}} Picture Red, green and blue of each pixel, row by row */
/** @typedef {number[]} Box Left, top, right and bottom */
/** @typedef {{edge_tolerance: number, edge_share: number, specks: number, looked_at: number, room: number}} Margins */

/** Python's round, half to even
 * @param {number} x */
export function round(x) {
    const up = Math.round(x);
    return up - x === .5 && up % 2 ? up - 1 : up;
}

/** @param {number} width @param {number} height @returns {Picture} */
export const blank = (width, height) => ({width, height, data: new Uint8Array(3*width*height)});

/** @param {Picture} im @returns {Box} */
export const whole = im => [0, 0, im.width, im.height];

/** The part of a picture in a box of pixels
 * @param {Picture} im @param {Box} box */
export function crop(im, [left, top, right, bottom]) {
    const part = blank(right - left, bottom - top);
    paste(part, im, -left, -top);
    return part;
}

/** @param {Picture} im */
export function mirror(im) {
    const other = blank(im.width, im.height);
    for (let y = 0, at = 0; y < im.height; y++) for (let x = im.width - 1; x >= 0; x--, at += 3)
        other.data.set(im.data.subarray(3*(y*im.width + x), 3*(y*im.width + x + 1)), at);
    return other;
}

/** Lay one picture over another; what reaches beyond it is cut off
 * @param {Picture} onto @param {Picture} im @param {number} left @param {number} top */
export function paste(onto, im, left, top) {
    const from = Math.max(0, -left), to = Math.min(im.width, onto.width - left);
    for (let y = Math.max(0, -top); y < Math.min(im.height, onto.height - top); y++)
        onto.data.set(im.data.subarray(3*(y*im.width + from), 3*(y*im.width + to)), 3*((y + top)*onto.width + left + from));
}

/** Pillow's Image.reduce: the mean of each block of pixels; those at the right and the lower edge may be smaller
 * @param {Picture} im @param {number} across @param {number} down @param {Box} box */
export function reduce(im, across, down = across, box = whole(im)) {
    const [left, top, right, bottom] = box;
    const small = blank(Math.ceil((right - left)/across), Math.ceil((bottom - top)/down));
    for (let y = 0, at = 0; y < small.height; y++) {
        const y0 = top + y*down, y1 = Math.min(bottom, y0 + down);
        for (let x = 0; x < small.width; x++) {
            const x0 = left + x*across, x1 = Math.min(right, x0 + across), n = (x1 - x0)*(y1 - y0);
            let r = n >> 1, g = r, b = r;
            for (let v = y0; v < y1; v++) for (let i = 3*(v*im.width + x0), end = i + 3*(x1 - x0); i < end; i += 3) {
                r += im.data[i];
                g += im.data[i+1];
                b += im.data[i+2];
            }
            // Pillow divides by multiplying with a 24-bit number, which is now and then one less than division gives.
            const times = Math.floor(2**24/n)/2**24;
            small.data[at++] = r*times;
            small.data[at++] = g*times;
            small.data[at++] = b*times;
        }
    }
    return small;
}

/** Keys' cubic with a = -0.5, which Pillow calls BICUBIC
 * @param {number} x */
function cubic(x) {
    x = Math.abs(x);
    return x < 1 ? (1.5*x - 2.5)*x*x + 1 : x < 2 ? ((-.5*x + 2.5)*x - 4)*x + 2 : 0;
}
const reach = 2; // of the cubic, in pixels

/** Which pixels each new pixel is made of, and how much of each
 * @param {number} start @param {number} end @param {number} length Of the row @param {number} n New pixels */
function shares(start, end, length, n) {
    const scale = (end - start)/n, wide = Math.max(1, scale);
    return Array.from({length: n}, (_, i) => {
        const centre = start + (i + .5)*scale;
        const first = Math.max(0, Math.trunc(centre - reach*wide + .5));
        const last = Math.min(length, Math.trunc(centre + reach*wide + .5));
        const parts = Array.from({length: last - first}, (_, j) => cubic((first + j - centre + .5)/wide));
        const sum = parts.reduce((a, b) => a + b, 0);
        return {first, parts: parts.map(o => o/sum)};
    });
}

const unit = 2**22; // in which Pillow counts the shares of pixels that are bytes

/** One direction of Pillow's resampling: rows of `length` pixels become rows of `n`, and columns rows
 * @template {Uint8Array | Float32Array} T
 * @param {T} data @param {number} channels @param {number} length @param {number} start @param {number} end @param {number} n
 * @returns {T} */
function resampled(data, channels, length, start, end, n) {
    const bytes = data instanceof Uint8Array, rows = data.length/channels/length;
    const out = bytes ? new Uint8ClampedArray(channels*rows*n) : new Float32Array(channels*rows*n);
    shares(start, end, length, n).forEach(({first, parts}, x) => {
        if (bytes) parts = parts.map(o => Math.trunc(o*unit + (o < 0 ? -.5 : .5)));
        for (let y = 0; y < rows; y++) for (let c = 0; c < channels; c++) {
            let sum = 0;
            for (let j = 0, i = channels*(y*length + first) + c; j < parts.length; j++, i += channels) sum += data[i]*parts[j];
            out[channels*(x*rows + y) + c] = bytes ? Math.floor((sum + unit/2)/unit) : sum;
        }
    });
    return /** @type {T} */ (bytes ? new Uint8Array(out.buffer) : out);
}

/** Pillow's resize, BICUBIC, without a gap
 * @template {Uint8Array | Float32Array} T
 * @param {{width: number, height: number, data: T}} im @param {number} channels @param {number} width @param {number} height
 * @param {Box} box */
export function resize(im, channels, width, height, [left, top, right, bottom]) {
    const across = resampled(im.data, channels, im.width, left, right, width);
    return {width, height, data: resampled(across, channels, im.height, top, bottom, height)};
}

/** Pillow's resize with reducing_gap=3: large pictures are first averaged over whole blocks
 * @param {Picture} im @param {number} width @param {number} height @param {Box} box */
function shrink(im, width, height, box) {
    const [left, top, right, bottom] = box;
    const [sx, sy] = [(right - left)/width, (bottom - top)/height];
    const [fx, fy] = [sx, sy].map(o => Math.trunc(o/3) || 1);
    if (fx === 1 && fy === 1) return resize(im, 3, width, height, box);
    const [rx, ry] = [sx, sy].map(o => (reach - .5)*o);
    const safe = [Math.max(0, Math.trunc(left - rx)), Math.max(0, Math.trunc(top - ry)),
        Math.min(im.width, Math.ceil(right + rx)), Math.min(im.height, Math.ceil(bottom + ry))];
    const within = [(left - safe[0])/fx, (top - safe[1])/fy, (right - safe[0])/fx, (bottom - safe[1])/fy];
    return resize(reduce(im, fx, fy, safe), 3, width, height, within);
}

/** fit_square: shrink or enlarge to fit a square, with white where it does not reach
 * @param {Picture} im @param {number} side @param {Box} box @returns {Picture} */
export function fitSquare(im, side, box) {
    const [left, top, right, bottom] = box, longer = Math.max(right - left, bottom - top);
    const [width, height] = [right - left, bottom - top].map(o => Math.max(1, round(side*o/longer)));
    const small = shrink(im, width, height, box), square = blank(side, side);
    square.data.fill(255);
    paste(square, small, round((side - width)/2), round((side - height)/2));
    return square;
}

/** background_colour: null unless most of the edge is of about one colour
 * @param {Picture} im @param {Margins} m */
export function backgroundColour({width, height, data}, m) {
    /** @type {number[]} */ const edge = [];
    for (let x = 0; x < width; x++) edge.push(x, (height - 1)*width + x);
    for (let y = 0; y < height; y++) edge.push(y*width, y*width + width - 1);
    const colour = [0, 1, 2].map(c => {
        const sorted = Uint8Array.from(edge, i => data[3*i + c]).sort(), half = sorted.length >> 1;
        return Math.trunc((sorted[half - 1] + sorted[half])/2); // their number is always even
    });
    const plain = edge.filter(i => colour.every((o, c) => Math.abs(data[3*i + c] - o) <= m.edge_tolerance));
    return plain.length/edge.length >= m.edge_share ? colour : null;
}

/** subject_box: around what stands out from a plain background, with room on all sides; else all of the picture
 * @param {Picture} im @param {Margins} m @returns {Box} In pixels */
export function subjectBox(im, m) {
    const scale = Math.ceil(Math.max(im.width, im.height)/m.looked_at);
    const small = reduce(im, scale), colour = backgroundColour(small, m);
    if (!colour) return whole(im);
    const rows = new Float64Array(small.height), columns = new Float64Array(small.width);
    for (let y = 0, i = 0; y < small.height; y++) for (let x = 0; x < small.width; x++, i += 3)
        if (colour.some((o, c) => Math.abs(small.data[i + c] - o) > m.edge_tolerance)) { rows[y]++; columns[x]++; }
    const down = [...rows.keys()].filter(y => rows[y]/small.width > m.specks);
    const across = [...columns.keys()].filter(x => columns[x]/small.height > m.specks);
    if (!down.length || !across.length) return whole(im);
    const [left, top, right, bottom] = [across[0], down[0], across[across.length-1] + 1, down[down.length-1] + 1].map(o => o*scale);
    const room = m.room*Math.max(right - left, bottom - top);
    return [Math.max(0, round(left - room)), Math.max(0, round(top - room)),
        Math.min(im.width, round(right + room)), Math.min(im.height, round(bottom + room))];
}
