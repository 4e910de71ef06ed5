/* The sliders of the web edition: every <div class="play"> becomes an image, a setting A, a second
setting B to compare it with, and what they show. The transforms are those of contrast.js. With
data-image it is a small one: that image, which has lost contrast as data-severity says, CLAHE, and
three sliders. */
"use strict";

const play = (() => {
  const TRANSFORMS = {
    stretching: {
      python: "contrast_stretching",
      settings: ["low", "high", "color"],
      apply: (image, { low, high, color }) => contrast.contrastStretching(image, low, high, color),
    },
    HE: {
      python: "histogram_equalization",
      settings: ["color"],
      apply: (image, { color }) => contrast.histogramEqualization(image, color),
    },
    AHE: {
      python: "adaptive_histogram_equalization",
      settings: ["kernel_size"],
      apply: (image, { kernel_size }) => contrast.adaptiveHistogramEqualization(image, kernel_size),
    },
    CLAHE: {
      python: "clahe",
      settings: ["kernel_size", "clip_limit"],
      apply: (image, { kernel_size, clip_limit }) => contrast.clahe(image, kernel_size, clip_limit),
    },
  };
  const COLORS = { joint: "R, G, B together", channel: "R, G, B each", value: "V alone" };
  const MOST_SIDE = 512; // of a picture of one's own
  const NEIGHBOURS = 3; // on each side of a pixel, for the gain around it
  const WAIT = 400; // milliseconds after the last move, until the words change
  // a clip limit by the slider's position, 0 to 100: from 0.0005 to 1, on a logarithmic scale
  const clipLimit = (position) => Number((0.0005 * 2000 ** (position / 100)).toPrecision(2));

  // ---- the page's parts

  const slider = (name, words, min, max, value, step = 1) =>
    `<label class="of-${name}"><span>${words} <output></output></span>
     <input type="range" name="${name}" min="${min}" max="${max}" step="${step}" value="${value}">
     </label>`;

  const picture = (area, title, below) =>
    `<figure class="${area}"><figcaption>${title}</figcaption>
     <canvas role="img" aria-label="${title}"></canvas>${below}</figure>`;

  const scale = (...words) =>
    `<div class="scale" aria-hidden="true"><span>${words.join("</span><span>")}</span></div>`;

  const histogram = `<svg viewBox="0 0 256 64" preserveAspectRatio="none" role="img"
    aria-label="Histogram and CDF"><path class="bars"/><path class="cdf"/></svg>
    ${scale("0", "grey level", "255")}`;

  const key = (kind, ...words) => `<div class="key ${kind}"></div>${scale(...words)}`;

  const panel = (name, transform) => `
    ${picture(`result ${name}`, name, histogram)}
    <div class="controls ${name}" role="group" aria-label="Setting ${name}">
      <label class="of-transform"><span>${name}</span> <select name="transform">
        ${options(Object.keys(TRANSFORMS), Object.keys(TRANSFORMS), transform)}</select></label>
      ${slider("low", "Low percentile:", 0, 49, 2, 0.5)}
      ${slider("high", "High percentile:", 51, 100, 98, 0.5)}
      <label class="of-color"><span>Histogram of</span> <select name="color">
        ${options(Object.keys(COLORS), Object.values(COLORS), "value")}</select></label>
      ${slider("kernel_size", "Tile:", 4, 32, 8)}
      ${slider("clip_limit", "Clip limit:", 0, 100, 54)}
    </div>
    <div class="changes ${name}">
      ${picture("difference", `${name} − original`, key("grey", "−255", "0", "+255"))}
      ${picture("gain", `Gain of ${name}`, key("colours", "× ⅛", "× 1", "× 8"))}
    </div>`;

  function options(values, words, chosen) {
    const mark = (value) => (value === chosen ? " selected" : "");
    return values.map((value, i) => `<option value="${value}"${mark(value)}>${words[i]}`).join("");
  }

  const layout = (images) => `
    <div class="choice" role="group" aria-label="The image">
      <label class="of-image"><span>Image</span> <select name="image">
        ${options([...images.keys()], images.map((image) => image.name))}</select></label>
      ${slider("severity", "Contrast taken away:", 0, 5, 0)}
      <label class="of-file"><span>Your own picture, which never leaves this machine</span>
        <input type="file" name="file" accept="image/*"></label>
      <label class="of-compare"><input type="checkbox" name="compare"> Compare two settings</label>
    </div>
    ${picture("original", "Original", histogram)}
    ${picture("apart", "B − A", key("grey", "−255", "0", "+255"))}
    ${panel("A", "CLAHE")} ${panel("B", "AHE")}
    <p class="words" role="status"></p>
    <div class="code highlight">
      <pre tabindex="0" role="region" aria-label="The line of Python"></pre></div>`;

  // ---- one of them

  function start(root) {
    const isSmall = "image" in root.dataset;
    root.classList.toggle("small", isSmall);
    root.innerHTML = layout(play.images);
    const find = (selector) => root.querySelector(selector);
    const choice = controlsIn(find(".choice"));
    const panels = Object.fromEntries(
      ["A", "B"].map((name) => [name, controlsIn(find(`.controls.${name}`))]),
    );
    let source; // {pixels, height, width, channels, name, code} of the chosen image
    let drawn = {};
    let turns = 0;
    let scheduled = 0;
    let timer = 0;

    async function choose() {
      const file = choice.file.files[0];
      const listed = play.images[choice.image.value];
      if (!file && !listed) return; // no file was chosen in the end: what is shown stays
      const turn = ++turns;
      let opened;
      try {
        opened = await (file ? openFile(file) : openImage(listed));
      } catch {
        const { name } = file ?? listed;
        find(".words").textContent = `Not shown: ${name} is nothing that this browser can read.`;
        return;
      }
      if (turn !== turns) return; // another was chosen meanwhile
      if (file) choice.image.selectedIndex = -1;
      source = opened;
      drawn = {};
      const side = Math.min(source.height, source.width);
      for (const { kernel_size, color } of Object.values(panels)) {
        kernel_size.max = Math.max(8, source.height, source.width);
        kernel_size.value = Math.max(8, Math.floor(side / 8));
        color.disabled = source.channels === 1;
      }
      draw();
    }

    function draw() {
      scheduled = 0;
      const severity = Number(choice.severity.value);
      const original = once("original", severity, () => drawOriginal(severity));
      const compared = choice.compare.checked;
      root.classList.toggle("compared", compared);
      const shown = (compared ? ["A", "B"] : ["A"]).map((name) => {
        const transform = panels[name].transform.value;
        const values = valuesOf(panels[name]);
        return once(name, [severity, transform, values], () =>
          drawPanel(name, transform, values, original),
        );
      });
      const top = Math.max(original.before.top, ...shown.map(({ after }) => after.top));
      drawHistogram(find(".original svg"), original.before, top);
      for (const { name, after } of shown) drawHistogram(find(`.result.${name} svg`), after, top);
      const words = shown.map((one) => one.words);
      if (compared) {
        const [a, b] = shown.map(({ result }) => result);
        drawPicture(find(".apart"), source, difference(a, b));
        words.push(apartInWords(a, b, source.channels));
      }
      find(".code pre").textContent = [
        "import augment_utils as au",
        ...(source.code.includes("skimage") ? ["import skimage"] : []),
        ...(severity ? ["from augment_utils import corruptions"] : []),
        "",
        ...shown.map((one) => one.line + (source.comment ?? "")),
      ].join("\n");
      clearTimeout(timer);
      timer = setTimeout(() => {
        find(".words").textContent = words.join(" ");
      }, WAIT);
    }

    /** What was drawn last under a name, if its settings are the same; a move changes only one. */
    function once(name, settings, make) {
      const key = JSON.stringify(settings);
      if (drawn[name]?.key !== key) drawn[name] = { key, ...make() };
      return drawn[name];
    }

    function drawOriginal(severity) {
      const image = { ...source, pixels: contrast.loseContrast(source, severity) };
      say(choice.severity, severity ? `severity ${severity} of 5` : "none");
      find(".original figcaption").textContent = `Original, ${image.height} × ${image.width}`;
      drawPicture(find(".original"), image, image.pixels);
      const corrupted = `corruptions.contrast(${image.code}, severity=${severity})`;
      return { image, code: severity ? corrupted : image.code, before: measure(image) };
    }

    function drawPanel(name, transform, values, { image, code, before }) {
      const { python, settings, apply } = TRANSFORMS[transform];
      const result = apply(image, values);
      const after = measure({ ...image, pixels: result });
      const title = isSmall ? transform : `${name}: ${transform}`;
      find(`.result.${name} figcaption`).textContent = title;
      drawPicture(find(`.result.${name}`), image, result);
      if (!isSmall) {
        const [changed, gained] = find(`.changes.${name}`).children;
        drawPicture(changed, image, difference(image.pixels, result));
        drawGain(gained, image, before, after);
      }

      const controls = panels[name];
      for (const setting of Object.keys(values)) {
        controls[setting].closest("label").hidden = !settings.includes(setting);
      }
      const pixels = values.kernel_size ** 2;
      const limit = Math.max(1, Math.trunc(values.clip_limit * pixels));
      say(controls.low, `${values.low} %`);
      say(controls.high, `${values.high} %`);
      say(controls.kernel_size, `${values.kernel_size} × ${values.kernel_size} pixels`);
      say(controls.clip_limit, `${values.clip_limit}, ${limit} of ${pixels} pixels`);

      const named = settings
        .filter((setting) => setting !== "color" || image.channels === 3)
        .map((setting) => `${setting}=${JSON.stringify(values[setting])}`);
      const line = `au.${python}(${[code, ...named].join(", ")})`;
      let words = isSmall ? spread(before, after) : `${title}. ${facts(before, after)}`;
      if (settings.includes("clip_limit")) words += limitInWords(limit, pixels);
      return { name, result, after, line, words };
    }

    root.addEventListener("input", ({ target }) => {
      if (target.name === "image") choice.file.value = "";
      if (target.name === "image" || target.name === "file") choose();
      else if (source) scheduled ||= requestAnimationFrame(draw);
    });
    if (isSmall) {
      choice.image.value = root.dataset.image;
      choice.severity.value = root.dataset.severity ?? 0;
    }
    choose();
  }

  function controlsIn(element) {
    const controls = [...element.querySelectorAll("[name]")];
    return Object.fromEntries(controls.map((control) => [control.name, control]));
  }

  function valuesOf({ low, high, color, kernel_size, clip_limit }) {
    return {
      low: Number(low.value),
      high: Number(high.value),
      color: color.value,
      kernel_size: Number(kernel_size.value),
      clip_limit: clipLimit(clip_limit.value),
    };
  }

  /** What a slider stands at, beside it and for a screen reader. */
  function say(control, words) {
    control.setAttribute("aria-valuetext", words);
    control.parentElement.querySelector("output").textContent = words;
  }

  // ---- images

  /** An image of the list; the script with its pixels is added to the page when it is wanted. */
  async function openImage(image) {
    if (!image.url) {
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = new URL(image.file, play.folder);
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
      });
    }
    return { ...image, ...(await decode(image.url, Infinity, image.channels)) };
  }

  async function openFile(file) {
    const url = URL.createObjectURL(file);
    try {
      const opened = await decode(url, MOST_SIDE);
      const code = `skimage.io.imread(${JSON.stringify(file.name)})`;
      const size = `${opened.height} × ${opened.width}`;
      const comment = opened.shrunk ? `  # here ${size} pixels of it` : "";
      return { ...opened, name: file.name, code, comment };
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  /** The browser's own decoder; a picture in which R, G and B are the same is grey. */
  async function decode(url, mostSide, channels) {
    const opened = new Image();
    opened.src = url;
    await opened.decode();
    const scale = Math.min(1, mostSide / Math.max(opened.naturalHeight, opened.naturalWidth));
    const height = Math.max(1, Math.round(opened.naturalHeight * scale));
    const width = Math.max(1, Math.round(opened.naturalWidth * scale));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // under what is transparent
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(opened, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    channels ??= data.some((level, i) => i % 4 !== 3 && level !== data[i - (i % 4)]) ? 3 : 1;
    const pixels = new Uint8Array(height * width * channels);
    for (let j = 0; j < height * width; j++) {
      for (let c = 0; c < channels; c++) pixels[channels * j + c] = data[4 * j + c];
    }
    return { pixels, height, width, channels, shrunk: scale < 1 };
  }

  // ---- what is measured of an image

  /** Its V, how many pixels have each level, and mean and standard deviation. */
  function measure({ pixels, height, width, channels }) {
    const total = height * width;
    const value = channels === 1 ? pixels : new Uint8Array(total);
    const counts = new Int32Array(256);
    let [sum, squares] = [0, 0];
    for (let j = 0; j < total; j++) {
      if (channels === 3) value[j] = Math.max(pixels[3 * j], pixels[3 * j + 1], pixels[3 * j + 2]);
      counts[value[j]]++;
      sum += value[j];
      squares += value[j] ** 2;
    }
    const bars = Array.from({ length: 64 }, (_, bar) =>
      counts.subarray(4 * bar, 4 * bar + 4).reduce((a, b) => a + b),
    );
    const mean = sum / total;
    const deviation = Math.sqrt(squares / total - mean ** 2);
    return { value, counts, bars, top: Math.max(...bars), total, mean, deviation };
  }

  /** The variance of V in the square around each pixel, from sums over all above and left. */
  function variances(value, height, width) {
    const across = width + 1;
    const sums = new Float64Array(across * (height + 1));
    const squares = new Float64Array(across * (height + 1));
    for (let y = 0, j = 0; y < height; y++) {
      let [sum, square] = [0, 0];
      for (let x = 0, i = across * (y + 1) + 1; x < width; x++, i++, j++) {
        sum += value[j];
        square += value[j] ** 2;
        sums[i] = sums[i - across] + sum;
        squares[i] = squares[i - across] + square;
      }
    }
    const result = new Float64Array(height * width);
    for (let y = 0, j = 0; y < height; y++) {
      const top = across * Math.max(0, y - NEIGHBOURS);
      const bottom = across * Math.min(height, y + NEIGHBOURS + 1);
      for (let x = 0; x < width; x++, j++) {
        const left = Math.max(0, x - NEIGHBOURS);
        const right = Math.min(width, x + NEIGHBOURS + 1);
        const n = ((bottom - top) / across) * (right - left);
        const over = (all) =>
          all[bottom + right] - all[bottom + left] - all[top + right] + all[top + left];
        result[j] = (n * over(squares) - over(sums) ** 2) / n ** 2;
      }
    }
    return result;
  }

  function difference(before, after) {
    return after.map((level, i) => 128 + (level - before[i]) / 2);
  }

  // ---- what is drawn

  function drawPicture(figure, { height, width }, pixels) {
    const channels = pixels.length / (height * width);
    const data = new Uint8ClampedArray(4 * height * width);
    for (let j = 0; j < height * width; j++) {
      data[4 * j] = pixels[channels * j];
      data[4 * j + 1] = pixels[channels === 3 ? 3 * j + 1 : j];
      data[4 * j + 2] = pixels[channels === 3 ? 3 * j + 2 : j];
      data[4 * j + 3] = 255;
    }
    const canvas = figure.querySelector("canvas");
    Object.assign(canvas, { height, width });
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  }

  /** From blue (an eighth of the standard deviation, or less) over white to orange (8 times). */
  function drawGain(figure, { height, width }, before, after) {
    const old = (before.variances ??= variances(before.value, height, width));
    const fresh = variances(after.value, height, width);
    const pixels = new Uint8Array(3 * height * width);
    for (let j = 0; j < height * width; j++) {
      // half a power of two of variances is one of standard deviations; 0 to 0 is no change
      const powers = old[j] === fresh[j] ? 0 : Math.log2(fresh[j] / old[j]) / 2;
      const strength = Math.min(Math.abs(powers) / 3, 1);
      const colour = powers > 0 ? [213, 94, 0] : [0, 114, 178];
      for (let c = 0; c < 3; c++) pixels[3 * j + c] = 255 + (colour[c] - 255) * strength;
    }
    drawPicture(figure, { height, width }, pixels);
  }

  function drawHistogram(svg, { bars, counts, total }, top) {
    const height = (share) => (64 * (1 - share)).toFixed(1);
    const outline = bars.map((count, bar) => `V${height(count / top)}H${4 * bar + 4}`);
    svg.querySelector(".bars").setAttribute("d", `M0 64${outline.join("")}V64Z`);
    let seen = 0;
    const steps = Array.from(counts, (count, level) => {
      seen += count;
      return `${level} ${height(seen / total)}`;
    });
    svg.querySelector(".cdf").setAttribute("d", `M${steps.join("L")}`);
  }

  // ---- words

  function spread(before, after) {
    const [old, fresh] = [before, after].map(({ deviation }) => deviation.toFixed(1));
    return `The standard deviation of the grey levels: ${old} before, ${fresh} after.`;
  }

  const percent = (count, total) => `${((100 * count) / total).toFixed(1)} %`;

  function facts(before, after) {
    const share = ({ counts, total }, level) => percent(counts[level], total);
    return (
      `V has mean ${after.mean.toFixed(1)} (before: ${before.mean.toFixed(1)}) and standard ` +
      `deviation ${after.deviation.toFixed(1)} (${before.deviation.toFixed(1)}); ` +
      `${share(after, 0)} of the pixels are at 0 (${share(before, 0)}) ` +
      `and ${share(after, 255)} at 255 (${share(before, 255)}).`
    );
  }

  /** The clip limit as the whole number of pixels that it stands for, which is never below 1. */
  function limitInWords(limit, pixels) {
    const words = ` The clip limit is ${limit} of a tile's ${pixels} pixels.`;
    const alive = Math.max(2, Math.floor(pixels / 256) + 1); // 256 bars of fewer hold the tile
    if (limit >= alive) return words;
    const end = Number((alive / pixels).toPrecision(3));
    return (
      `${words} Dead zone: every clip limit below ${alive}/${pixels} = ${end} gives this same ` +
      "picture; notebook 06 explains it."
    );
  }

  function apartInWords(a, b, channels) {
    let [pixels, most] = [0, 0];
    for (let j = 0; j < a.length; j += channels) {
      let apart = 0;
      for (let i = j; i < j + channels; i++) apart = Math.max(apart, Math.abs(a[i] - b[i]));
      pixels += apart > 0;
      most = Math.max(most, apart);
    }
    if (!pixels) return "A and B are the same picture, pixel by pixel.";
    const where = percent(pixels, a.length / channels);
    return `A and B differ at ${where} of the pixels, by ${most} grey levels at most.`;
  }

  return {
    start,
    folder: new URL("play/", document.currentScript.src),
    loaded(name, url) {
      this.images.find((image) => image.name === name).url = url;
    },
  };
})();

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".play").forEach(play.start));
