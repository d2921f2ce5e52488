/* Questions to the reader: choose first, then read why. In the page's source a question is a
   paragraph, a list of choices and a folded answer, which is what remains without this script. The
   choice is kept on this device. */
document.addEventListener("DOMContentLoaded", () => {
  const kept = (key, value) => {
    try {
      return value ? localStorage.setItem(key, value) : localStorage.getItem(key);
    } catch {
      return null; // this browser keeps nothing
    }
  };
  const letter = (element) => element.querySelector("strong").textContent[0];
  const contents = (element) => (element.children.length == 1 && element.querySelector(":scope > p")) || element;
  let number = 0;
  for (const answer of document.querySelectorAll("details")) {
    const choices = answer.previousElementSibling, asked = choices?.previousElementSibling;
    if (answer.firstElementChild?.textContent != "Answer" || choices?.localName != "ul") continue;
    const key = `question ${location.pathname} ${asked.textContent.slice(0, 60)}`;
    const name = `question-${number++}`;
    const right = answer.querySelector(":scope > p"), wrong = answer.querySelectorAll(":scope > ul > li");
    const form = document.createElement("fieldset"), legend = document.createElement("legend");
    const said = document.createElement("p");
    form.className = "question";
    said.setAttribute("role", "status");
    legend.append(...asked.childNodes);
    form.append(legend);
    const say = (chosen) => {
      const found = [...wrong].find((item) => letter(item) == chosen);
      said.className = found ? "wrong" : "right";
      said.replaceChildren(found ? "Not so. " : "Yes. ", ...contents(found ?? right).cloneNode(true).childNodes);
    };
    for (const item of choices.querySelectorAll(":scope > li")) {
      const label = document.createElement("label"), radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name, value: letter(item) });
      radio.addEventListener("change", () => {
        say(radio.value);
        kept(key, radio.value);
      });
      const text = document.createElement("span");
      text.append(...contents(item).childNodes);
      label.append(radio, text);
      form.append(label);
      if ((radio.checked = kept(key) == radio.value)) say(radio.value);
    }
    form.append(said);
    asked.remove();
    choices.replaceWith(form);
  }
});
