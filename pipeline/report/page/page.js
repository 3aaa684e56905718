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
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
for (const link of document.querySelectorAll(".board a")) link.addEventListener("click", () => setTimeout(open));

// The data of each dataset lies in the page as JSON; pictures lie there once, whatever shows them.
const datasets = {};
for (const script of document.querySelectorAll("script[data-dataset]")) {
  datasets[script.dataset.dataset] = JSON.parse(script.textContent);
}
const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
const exhibit = (data, id, side) => {
  const item = data.items[id];
  if (item?.picture) {
    const times = side / Math.max(item.width, item.height);
    return make("img", {
      src: item.picture, alt: `item ${id}`, className: times >= 2 ? "crisp" : "",
      width: Math.round(item.width * times), height: Math.round(item.height * times),
    });
  }
  return make(item?.text ? "q" : "code", {}, item?.text ?? id);
};
for (const place of document.querySelectorAll("[data-item]")) {
  const data = datasets[place.dataset.in];
  place.querySelector(".exhibit")?.replaceChildren(exhibit(data, place.dataset.item, Number(place.dataset.side ?? 88)));
}

// A click on an item opens it: what it is, what was said of it, and what of train lies nearest.
const dialog = document.getElementById("item");
const openItem = (name, id, anchor, said, sure = "") => {
  const data = datasets[name], item = data.items[id], head = data.heads[anchor];
  const near = data.near[head?.store]?.[id] ?? [];
  const lines = [make("h3", {}, exhibit(data, id, 220))];
  const facts = make("dl");
  const fact = (term, text, className = "") => facts.append(make("dt", {}, term), make("dd", { className }, text));
  if (item?.label) fact(data.regression ? "value" : "label", item.label);
  if (said != null) fact(head ? `${head.backbone} · ${head.head} said` : "said", said, !data.regression && said !== item?.label ? "said" : "");
  if (sure) fact("", sure);
  if (item?.split) fact("split", item.split);
  fact("item", id);
  lines.push(facts);
  if (near.length) {
    const list = make("ol", { className: "near" });
    for (const [other, cosine] of near) {
      const label = data.items[other]?.label ?? "";
      list.append(make("li", {}, exhibit(data, other, 72), make("span", { className: label === item?.label ? "" : "said" }, ` ${label} `), make("span", { className: "soft" }, cosine.toFixed(3))));
    }
    lines.push(make("h4", {}, `Nearest in train, through ${head.backbone} (cosine)`), list);
  }
  dialog.querySelector(".content").replaceChildren(...lines);
  dialog.showModal();
};
for (const button of document.querySelectorAll("button[data-item]")) {
  button.addEventListener("click", () => {
    const { item, head, said, sure } = button.dataset;
    openItem(button.dataset.in, item, head, said, sure);
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
open();
