/* Questions to the reader: choose first, then read why. The choice is kept on this device. Without this
   script the answer is a folded part of the page, which it stays in any case. */
document.addEventListener("DOMContentLoaded", () => {
  const kept = (key, value) => {
    try {
      return value ? localStorage.setItem(key, value) : localStorage.getItem(key);
    } catch {
      return null; // this browser keeps nothing
    }
  };
  for (const form of document.querySelectorAll("fieldset.question")) {
    const key = `question ${location.pathname} ${form.querySelector("legend").textContent.slice(0, 60)}`;
    const said = form.querySelector("[role=status]"), answer = form.nextElementSibling;
    const right = answer.querySelector(":scope > p");
    const say = (chosen) => {
      const found = [...answer.querySelectorAll(":scope > ul > li > p")]
        .find((words) => words.textContent[0] == chosen);
      said.className = found ? "wrong" : "right";
      said.replaceChildren(found ? "Not so. " : "Yes. ", ...(found ?? right).cloneNode(true).childNodes);
    };
    form.addEventListener("change", ({ target }) => {
      say(target.value);
      kept(key, target.value);
    });
    const before = form.querySelector(`input[value="${kept(key)}"]`);
    if (before) {
      before.checked = true;
      say(before.value);
    }
  }
});
