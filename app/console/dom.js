// Small helpers. All text is set as text: payloads, names and errors are never markup.

export const byId = (id) => document.getElementById(id);

export function say(id, text) {
  const node = typeof id === "string" ? byId(id) : id;
  if (node.textContent !== text) node.textContent = text;
}

export function show(id, visible) {
  byId(id).hidden = !visible;
}

export function make(tag, { text, className, ...attributes } = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Keep one child of `parent` for each item, in their order. A child that stays is not replaced, so
// that the focus and a selection in it stay too.
export function keep(parent, items, { key, create, update }) {
  const before = parent.kept ?? new Map();
  const now = new Map();
  for (const item of items) {
    const name = key(item);
    now.set(name, before.get(name) ?? create(item));
  }
  for (const [name, node] of before) if (now.get(name) !== node) node.remove();
  let next = parent.firstElementChild;
  for (const node of now.values()) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  parent.kept = now;
  for (const item of items) update(now.get(key(item)), item);
}

// A table whose columns are { label, className, text(item) } or { ..., actions(item): buttons }.
export class Table {
  constructor(parent, columns, { key, empty, rowClass = () => "", label }) {
    Object.assign(this, { columns, key, rowClass });
    this.none = make("p", { text: empty, className: "none" });
    this.scroll = make("div", { className: "scroll", tabindex: "0", role: "region", "aria-label": label });
    const table = make("table");
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      head.append(make("th", { text: column.label, scope: "col", className: column.className ?? "" }));
    }
    this.body = table.createTBody();
    this.scroll.append(table);
    // Until there is data, not even that there is none is known.
    this.none.hidden = this.scroll.hidden = true;
    parent.append(this.none, this.scroll);
  }

  update(items, ...more) {
    this.none.hidden = items.length > 0;
    this.scroll.hidden = items.length === 0;
    keep(this.body, items, {
      key: this.key,
      create: (item) => this.#create(item),
      update: (row, item) => this.#fill(row, item, more),
    });
  }

  #create(item) {
    const row = make("tr");
    for (const column of this.columns) {
      const cell = make("td", { className: column.className ?? "", "data-label": column.label });
      if (column.actions) cell.append(...column.actions(item, row));
      row.append(cell);
    }
    return row;
  }

  #fill(row, item, more) {
    row.className = this.rowClass(item);
    this.columns.forEach((column, n) => {
      if (column.text) say(row.cells[n], column.text(item, ...more) ?? "");
    });
  }
}

export function button(text, act) {
  const node = make("button", { text, type: "button" });
  node.addEventListener("click", () => act(node));
  return node;
}
