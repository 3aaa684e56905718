"use strict";
// A heading sorts its table: numbers as numbers, missing values last, equal ones in the order they came in.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], ranked = [...body.rows], headings = [...table.tHead.rows[0].cells];
  const sort = (heading) => {
    const column = heading.cellIndex, first = heading.dataset.first, sorted = heading.getAttribute("aria-sort");
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = sorted === first ? other : first, sign = direction === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.v;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, "en") : a - b);
    };
    body.append(...ranked.toSorted((a, b) => compare(value(a), value(b))));
    for (const each of headings) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
  };
  for (const heading of headings) heading.querySelector("button")?.addEventListener("click", () => sort(heading));
}

// A link to a head's details opens them.
const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", openTarget);
for (const link of document.querySelectorAll(".board a")) link.addEventListener("click", () => setTimeout(openTarget));

// The data of each dataset lies in the page as JSON; images lie there once, wherever they are shown.
const datasets = {};
for (const script of document.querySelectorAll("script[data-dataset]")) {
  datasets[script.dataset.dataset] = JSON.parse(script.textContent);
}
const createElement = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
const thumbnail = (data, id, side) => {
  const item = data.items[id];
  if (item?.image) {
    const scale = side / Math.max(item.width, item.height);
    return createElement("img", {
      src: item.image, alt: `item ${id}`, className: scale >= 2 ? "crisp" : "",
      width: Math.round(item.width * scale), height: Math.round(item.height * scale),
    });
  }
  return createElement(item?.text ? "q" : "code", {}, item?.text ?? id);
};
for (const container of document.querySelectorAll("[data-item]")) {
  const data = datasets[container.dataset.in];
  container.querySelector(".thumbnail")?.replaceChildren(thumbnail(data, container.dataset.item, Number(container.dataset.side ?? 88)));
}

// A click on an item opens it: its label, a head's prediction, and the nearest items of train.
const dialog = document.getElementById("item");
const openItem = (dataset, id, anchor, predicted, note = "") => {
  const data = datasets[dataset], item = data.items[id], head = data.heads[anchor];
  const neighbors = data.neighbors[head?.store]?.[id] ?? [];
  const lines = [createElement("h3", {}, thumbnail(data, id, 220))];
  const facts = createElement("dl");
  const fact = (term, text, className = "") => facts.append(createElement("dt", {}, term), createElement("dd", { className }, text));
  if (item?.label) fact(data.regression ? "value" : "label", item.label);
  if (predicted != null) fact(head ? `${head.label} · ${head.head} said` : "said", predicted, !data.regression && predicted !== item?.label ? "wrong" : "");
  if (note) fact("", note);
  if (item?.split) fact("split", item.split);
  fact("item", id);
  lines.push(facts);
  if (neighbors.length) {
    const list = createElement("ol", { className: "neighbors" });
    for (const [other, cosine] of neighbors) {
      const label = data.items[other]?.label ?? "";
      list.append(createElement("li", {}, thumbnail(data, other, 72), createElement("span", { className: label === item?.label ? "" : "wrong" }, ` ${label} `), createElement("span", { className: "soft" }, cosine.toFixed(3))));
    }
    lines.push(createElement("h4", {}, `Nearest in train, through ${head.label} (cosine)`), list);
  }
  dialog.querySelector(".content").replaceChildren(...lines);
  dialog.showModal();
};
for (const button of document.querySelectorAll("button[data-item]")) {
  button.addEventListener("click", () => {
    const { item, head, predicted, note } = button.dataset;
    openItem(button.dataset.in, item, head, predicted, note);
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
openTarget();
