// What both parts of the page need to build themselves.

/** @param {string} id @returns {HTMLElement} */
export const find = id => /** @type {HTMLElement} */ (document.getElementById(id));

/** An element with attributes, and what is in it. Text stays text.
 * @param {string} tag @param {Record<string, string>} attributes @param {(string | Node)[]} within */
export function make(tag, attributes = {}, ...within) {
    const o = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) o.setAttribute(name, value);
    o.append(...within);
    return o;
}
