/* The search page: finds words in the lines of the book, and shows each line with the words marked.
 * `lines.js`, made by tools/search.py, holds them; MiniSearch 7.2 ranks them. Classic scripts, so that
 * the search works from a file as well. */
"use strict";
document.addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("search-results");
  const query = new URLSearchParams(location.search).get("q")?.trim() ?? "";
  for (const input of document.querySelectorAll("form.bd-search input")) input.value = query;
  if (!query) return;
  // The lines are loaded when there is something to look for: half a megabyte.
  await new Promise((onload, onerror) => document.head.append(
    Object.assign(document.createElement("script"), { src: "_static/search/lines.js", onload, onerror })));
  const { pages, lines } = window.bookLines;

  /** 3 × 3, 3x3 and 3×3 are one word; so are Conv2d and conv2d, é and e. */
  const normal = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase()
    .replace(/(\d) ?[×x*] ?(?=\d)/g, "$1×");
  const words = (text) => normal(text).match(/[\p{L}\p{N}]+(?:×\p{N}+)*/gu) ?? [];

  const index = new MiniSearch({
    fields: ["title", "text"], tokenize: words, processTerm: (word) => word,
    searchOptions: {
      boost: { title: 2 }, prefix: (word) => word.length > 2,
      boostDocument: (id) => lines[id][4] ? 0.5 : 1, // prose before code
    },
  });
  index.addAll(lines.map(([page, , section, text], id) => ({ id, title: `${pages[page][1]} ${section}`, text })));
  let found = index.search(query, { combineWith: "AND" });
  if (!found.length) found = index.search(query, { combineWith: "OR", fuzzy: (word) => word.length > 4 && 0.2 });

  /** The line, with the words that were found in <mark>, and no more of it than a few lines. */
  function show(text, terms) {
    const marked = [], wanted = new Set(terms);
    let from = 0;
    for (const { 0: word, index: at } of text.matchAll(/[\p{L}\p{N}]+(?: ?[×x*] ?\p{N}+)*/gu)) {
      if (!words(word).some((each) => wanted.has(each))) continue;
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

  const heard = document.createElement("p");
  heard.role = "status";
  const count = new Set(found.map(({ id }) => lines[id][0])).size;
  heard.textContent = found.length
    ? `${found.length} ${found.length > 1 ? "lines" : "line"} on ${count} ${count > 1 ? "pages" : "page"}`
    : "Nothing found. Fewer words, or other ones, may help.";
  const list = document.createElement("ul");
  list.className = "search-lines";
  for (const { id, terms } of found.slice(0, 100)) {
    const [page, anchor, section, text, isCode] = lines[id];
    const item = document.createElement("li"), link = document.createElement("a"), line = document.createElement("p");
    const shown = isCode ? document.createElement("code") : line;
    link.href = `${pages[page][0]}.html${anchor && `#${anchor}`}`;
    link.textContent = section && section !== pages[page][1] ? `${pages[page][1]} › ${section}` : pages[page][1];
    shown.append(...show(text, terms));
    if (isCode) line.append(shown);
    item.append(link, line);
    list.append(item);
  }
  place.replaceChildren(heard, list);
});
