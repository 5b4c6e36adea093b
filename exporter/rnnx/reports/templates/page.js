"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const said = document.getElementById("said");
  const views = new Map();

  const say = (text) => {
    said.textContent = text;
    said.classList.add("shown");
    setTimeout(() => said.classList.remove("shown"), 1600);
  };

  // A page opened from a disk may have no clipboard of its own.
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };

  const copy = async (text, what) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = copyByHand(text);
    }
    say(done ? `${what} copied` : "This browser does not allow copying");
  };

  const cellText = (cell) => {
    const exact = cell.querySelector("data")?.value;
    return (exact || cell.textContent).replace(/\s+/g, " ").trim();
  };

  // A cell over several columns or rows stands in each of them, so that a spreadsheet has every heading.
  const tsv = (table) => {
    const grid = Array.from(table.rows, () => []);
    Array.from(table.rows).forEach((row, y) => {
      for (const cell of row.cells) {
        let x = 0;
        while (grid[y][x] !== undefined) x += 1;
        for (let down = 0; down < cell.rowSpan; down += 1)
          for (let right = 0; right < cell.colSpan; right += 1) grid[y + down][x + right] = cellText(cell);
      }
    });
    return grid.map((row) => row.join("\t")).join("\n");
  };

  const chartStyle = () => {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const font = color("--sans");
    const axis = {
      labelColor: color("--muted"), titleColor: color("--muted"), titleFontWeight: 500, labelFont: font,
      titleFont: font, labelFontSize: 12, titleFontSize: 12, gridColor: color("--line"), domainColor: color("--line"),
      tickColor: color("--line"), labelFlush: false, labelOverlap: true, labelLimit: 140,
    };
    return { background: null, view: { stroke: null }, axis, font };
  };

  const draw = async () => {
    for (const chart of document.querySelectorAll(".chart")) {
      const spec = JSON.parse(chart.querySelector(".spec").textContent);
      views.get(chart)?.finalize();
      const tooltip = { theme: dark.matches ? "dark" : "light" };
      const options = { renderer: "svg", actions: false, config: chartStyle(), tooltip };
      views.set(chart, await vegaEmbed(chart.querySelector(".plot"), spec, options));
    }
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  };

  const report = () => document.getElementById("report").textContent;

  for (const button of document.querySelectorAll("[data-table]"))
    button.addEventListener("click", () => copy(tsv(document.getElementById(button.dataset.table)), "Table"));
  for (const button of document.querySelectorAll(".copy-svg"))
    button.addEventListener("click", async () => copy(await views.get(button.closest(".chart")).view.toSVG(), "SVG"));
  document.getElementById("copy-json").addEventListener("click", () => copy(report(), "JSON"));
  document.getElementById("save-json").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([report()], { type: "application/json" }));
    link.download = "report.json";
    link.click();
  });

  dark.addEventListener("change", draw);
  draw();
})();
