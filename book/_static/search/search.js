/* The search page: finds words in the sections of the book, and shows of each the line that says most,
 * with the words marked. `lines.js`, made by tools/search.py, holds them; MiniSearch 7.2 ranks them.
 * Classic scripts, so that the search works from a file as well. */
"use strict";

/** 3 × 3, 3x3 and 3×3 are one word; so are Conv2d and conv2d, é and e, 10,000 and 10000, British and
 *  American spelling. */
const normal = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()
  .replace(/(\d) ?[×x*] ?(?=\d)/g, "$1×").replace(/(\d),(?=\d{3}(?!\d))/g, "$1")
  .replace(/is(?=e|ing|ation)/g, "iz").replace(/(col|neighb|behavi)our/g, "$1or").replace(/grey/g, "gray");
const words = (text) => normal(text).match(/\p{N}+(?:[.×]\p{N}+)+|[\p{L}\p{N}]+/gu) ?? [];
/** A word as it stands in a line, before it is made normal. */
const WORD = /\p{N}+(?:(?:[.,]| ?[×x*] ?)\p{N}+)+|[\p{L}\p{N}]+/gu;

/** What finds sections of the book: a query to [{ page, anchor, title, line, isCode, terms }], best first. */
function bookSearch({ pages, sections }) {
  const index = new MiniSearch({
    fields: ["page", "title", "text", "code"], tokenize: words, processTerm: (word) => word,
    searchOptions: {
      boost: { page: 3, title: 2, code: 0.3 }, prefix: (word) => word.length > 2,
      // A chapter before what is said of it elsewhere.
      boostDocument: (id) => /^(reference|teaching)\//.test(pages[sections[id][0]][0]) ? 0.4 : 1,
    },
  });
  index.addAll(sections.map(([page, anchor, title, text, code], id) => ({
    id, page: anchor ? "" : pages[page][1], title, text: text.join("\n"), code: code.join("\n"),
  })));

  return (query) => {
    const asked = [...new Set(words(query))], phrase = asked.join(" ");
    let found = index.search(query, { combineWith: "AND" });
    if (!found.length) found = index.search(query, { combineWith: "OR", fuzzy: (word) => word.length > 4 && 0.2 });

    /** The line of a section that has most of what is asked for, the earliest of several. */
    function best({ id, terms, score }) {
      const [page, anchor, title, text, code] = sections[id], wanted = new Set(terms);
      let chosen = { has: -1 };
      for (const [isCode, lines] of [[false, text], [true, code]])
        for (const line of lines) {
          const own = words(line), starts = (word) => own.some((each) => each === word ||
            (word.length > 2 && each.startsWith(word)));
          const has = asked.filter(starts).length + own.some((word) => wanted.has(word)) / 2 +
            own.join(" ").includes(phrase);
          if (has > chosen.has) chosen = { has, line, isCode };
        }
      return { page, anchor, title, terms: wanted, ...chosen, score: score * chosen.has ** 2 };
    }
    const first = found.slice(0, 300).map(best).sort((a, b) => b.score - a.score);
    return { places: first, count: found.length, pages: new Set(found.map(({ id }) => sections[id][0])).size };
  };
}

/** A line, with the words that were found in <mark>, and no more of it than a few lines. */
function markedLine(text, terms) {
  const marked = [];
  let from = 0;
  for (const { 0: word, index: at } of text.matchAll(WORD)) {
    if (!words(word).some((each) => terms.has(each))) continue;
    const mark = document.createElement("mark");
    mark.textContent = word;
    marked.push(text.slice(from, at), mark);
    from = at + word.length;
  }
  marked.push(text.slice(from));
  if (marked[0].length > 120) marked[0] = `… ${marked[0].slice(-100).replace(/^\S* /, "")}`;
  if (marked.at(-1).length > 220) marked.push(`${marked.pop().slice(0, 200).replace(/ \S*$/, "")} …`);
  return marked;
}

document.addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("search-results");
  const query = new URLSearchParams(location.search).get("q")?.trim() ?? "";
  for (const input of document.querySelectorAll("form.bd-search input")) input.value = query;
  if (!query) return;
  const heard = Object.assign(document.createElement("p"), { role: "status", textContent: "Searching …" });
  place.replaceChildren(heard);
  // The lines are loaded when there is something to look for: a megabyte.
  await new Promise((onload, onerror) => document.head.append(
    Object.assign(document.createElement("script"), { src: "_static/search/lines.js", onload, onerror })));
  const { places, count, pages } = bookSearch(window.bookLines)(query);

  heard.textContent = count
    ? `${count} ${count > 1 ? "places" : "place"} on ${pages} ${pages > 1 ? "pages" : "page"}`
    : "Nothing found. Fewer words, or other ones, may help.";
  const list = document.createElement("ul");
  list.className = "search-lines";
  for (const { page, anchor, title, line, isCode, terms } of places.slice(0, 100)) {
    const [name, chapter] = window.bookLines.pages[page];
    const item = document.createElement("li"), link = document.createElement("a"), said = document.createElement("p");
    const shown = isCode ? document.createElement("code") : said;
    link.href = `${name}.html${anchor && `#${anchor}`}`;
    link.textContent = title && title !== chapter ? `${chapter} › ${title}` : chapter;
    shown.append(...markedLine(line, terms));
    if (isCode) said.append(shown);
    item.append(link, said);
    list.append(item);
  }
  place.append(list);
});
