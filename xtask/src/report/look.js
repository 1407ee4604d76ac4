// What is wrong with a page as it is shown: a list of sentences.
(() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth > width) {
    const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width + 1);
    const named = wide.slice(-3).map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 60)}`);
    faults.push(`wider than its window of ${width}: ${named.join("; ")}`);
  }

  const title = document.querySelector("h1").getBoundingClientRect();
  if (document.elementFromPoint(title.left + 5, title.top + title.height / 2)?.tagName !== "H1") {
    faults.push("its title is not to be seen");
  }
  if (document.querySelectorAll("#matrix tr[data-name]:not([hidden])").length < 60) {
    faults.push("operations are missing");
  }
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    if (!document.getElementById(link.hash.slice(1))) faults.push(`${link.hash} leads nowhere`);
  }

  // Contrast as WCAG 2 has it; all colours are opaque.
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = numbers(colour).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const pale = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.tagName === "SCRIPT") continue;
    const [dark, light] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) pale.add(`${element.tagName} ${element.className}: a contrast of ${contrast.toFixed(2)}`);
  }
  faults.push(...pale);

  // Rows that are looked for are found, and nothing else is left.
  const find = document.getElementById("find");
  const type = (text) => {
    find.value = text;
    find.dispatchEvent(new Event("input", { bubbles: true }));
    return [...document.querySelectorAll("#matrix tr[data-name]")].filter((row) => row.checkVisibility()).length;
  };
  const [connect, nothing, all] = [type("connect"), type("no such operation"), type("")];
  if (connect !== 1 || nothing !== 0 || all < 60) faults.push(`finding finds ${connect}, ${nothing}, ${all}`);
  return faults;
})();
