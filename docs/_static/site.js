// A field above every long table: rows that lack one of the words typed there are hidden.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    if (rows.length < 20) continue;
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = `Filter ${rows.length} rows`;
    field.className = "filter";
    field.setAttribute("aria-label", field.placeholder);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    const wrapper = table.closest(".table-wrapper") ?? table;
    wrapper.before(field);
  }
});

// On a phone, tables that are too wide become cards, whose cells say what they are.
document.addEventListener("DOMContentLoaded", () => {
  const narrow = matchMedia("(max-width: 46em)");
  const tables = document.querySelectorAll("article table:has(thead)");
  const fit = () => {
    for (const table of tables) {
      table.classList.remove("cards");
      const tooWide = table.scrollWidth > table.parentElement.clientWidth;
      table.classList.toggle("cards", narrow.matches && tooWide);
    }
  };
  for (const table of tables) {
    const labels = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, i) => {
        if (labels[i]) cell.dataset.label = labels[i];
        cell.classList.toggle("empty", cell.textContent.trim() === "");
      });
    }
  }
  fit();
  narrow.addEventListener("change", fit);
});

// Names in the sidebar: without the namespace, which the entry above them says, and breakable at underscores
// and between the words of a class.
document.addEventListener("DOMContentLoaded", () => {
  for (const entry of document.querySelectorAll(".sidebar-tree .toctree-l2 > .reference")) {
    const name = entry.textContent.match(/^fusedloss(?:\.\w+)*\.(\w+)$/)?.[1];
    if (!name) continue;
    const parts = name.split(/(?<=_)|(?<=[a-z])(?=[A-Z])/);
    entry.title = entry.textContent;
    entry.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
  }
});
