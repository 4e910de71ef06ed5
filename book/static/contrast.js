/* The four contrast transforms of augment_utils in JavaScript, for one image of bytes.

It follows augment_utils/kernels.py step by step, under the same names, and gives the same bytes:
tests/book/test_play.py compares every one. What differs is only that this file is for one image
and for bytes. No other file is needed; use it in a page or in Node:

    const image = { pixels, height, width, channels };  // Uint8Array, rows of pixels, RGB or grey
    const pixels = contrast.clahe(image, 8, 0.03);      // a new Uint8Array, of the same length

JavaScript's numbers are Python's floats. Where the kernels compute in float32, so does
Math.fround, and a typed array rounds or wraps what is stored in it just as NumPy's arrays do.

What numbers share a histogram is called a unit: all channels ("joint"), one ("channel"), or V of
HSV, the largest of R, G and B ("value"). A grey image is one unit. */
"use strict";

const contrast = (() => {
  const BINS = 256;
  // As in scikit-image, AHE and CLAHE round V to 16,384 levels, of which 65 neighbours share a bin.
  const TOP_LEVEL = 2 ** 14 - 1;
  const BIN_WIDTH = 65;
  const FACTORS = [1, 0.75, 0.5, 0.4, 0.3, 0.15]; // of CIFAR-10-C's severities; 0 is the image

  // ---- contrast stretching: a straight line between two percentiles

  function contrastStretching(image, low = 2, high = 98, color = "joint") {
    const scale = isValue(image, color) ? 1 / 255 : 1; // V is a float, from 0 to 1
    return throughTables(image, color, (counts, total, first, last) => {
      const p = percentile(counts, total, low, scale);
      const q = percentile(counts, total, high, scale);
      const table = new Float64Array(256);
      for (let k = first; k <= last; k++) {
        const x = Math.min(Math.max(k * scale, p), q);
        table[k] = p < q ? (x - p) / (q - p) : p / scale / 255;
      }
      return table;
    });
  }

  /** As numpy.percentile: between the two nearest in order. */
  function percentile(counts, total, percent, scale) {
    const place = (percent / 100) * (total - 1);
    const below = Math.floor(place);
    let k = 0;
    let seen = counts[0];
    while (seen <= below) seen += counts[++k];
    let after = k;
    if (below + 1 < total && seen <= below + 1) {
      after++;
      while (counts[after] === 0) after++;
    }
    const [a, b, weight] = [k * scale, after * scale, place - below];
    return weight >= 0.5 ? b - (b - a) * (1 - weight) : a + (b - a) * weight;
  }

  // ---- histogram equalization: each level becomes its place in the CDF

  function histogramEqualization(image, color = "value") {
    return throughTables(image, color, (counts, total, first, last) => {
      const cdf = new Float64Array(256);
      let running = 0;
      for (let k = first; k <= last; k++) {
        running += counts[k];
        cdf[k] = running / total;
      }
      const interpolated = isValue(image, color) && first < last;
      return interpolated ? interpolateCdf(cdf, first, last) : cdf;
    });
  }

  /** V is counted as the float that it is, in 256 bins between its ends, and the CDF is
   * interpolated between their centres. A bin is narrower than a grey level, so that the bin
   * before or after a level's own is empty or holds the level before or after. */
  function interpolateCdf(cdf, first, last) {
    const [least, most] = [first * (1 / 255), last * (1 / 255)];
    const binOfLevel = new Int32Array(257).fill(-1);
    for (let k = first; k <= last; k++) binOfLevel[k] = binOf(k * (1 / 255), least, most);
    const table = new Float64Array(256);
    for (let k = first; k <= last; k++) {
      const [x, j] = [k * (1 / 255), binOfLevel[k]];
      const middle = centre(j, least, most);
      let a, b, left, right;
      if (x < middle) {
        [a, b] = [cdf[Math.max(k - 1, 0)], cdf[k]];
        [left, right] = [centre(j - 1, least, most), middle];
      } else {
        [a, b] = [cdf[k], binOfLevel[k + 1] === j + 1 ? cdf[Math.min(k + 1, 255)] : cdf[k]];
        [left, right] = [middle, centre(j + 1, least, most)];
      }
      const onLine = ((b - a) / (right - left)) * (x - left) + a;
      const outside = j === 0 ? x < middle : j === BINS - 1 && x >= middle;
      table[k] = outside ? cdf[k] : onLine;
    }
    return table;
  }

  /** Of the bins that numpy.histogram makes. */
  function edge(j, least, most) {
    return j === BINS ? most : j * ((most - least) / BINS) + least;
  }

  function centre(j, least, most) {
    return (edge(j, least, most) + edge(j + 1, least, most)) / 2;
  }

  function binOf(x, least, most) {
    let j = Math.min(Math.trunc(((x - least) / (most - least)) * BINS), BINS - 1);
    if (x < edge(j, least, most)) j--;
    return j < BINS - 1 && x >= edge(j + 1, least, most) ? j + 1 : j;
  }

  // ---- AHE and CLAHE: each pixel by the histograms of the tiles around it

  function adaptiveHistogramEqualization(image, kernelSize = null) {
    return clahe(image, kernelSize, 1);
  }

  /** `kernelSize` is a tile's side, or [height, width], or null: an eighth, but at least 8. */
  function clahe(image, kernelSize = null, clipLimit = 0.03) {
    const sides = [image.height, image.width].map((side) => Math.max(8, Math.floor(side / 8)));
    const [height, width] = [kernelSize ?? sides].flat();
    const levels = gather(image, "value", 0);
    const [, least, most] = count(levels);
    if (least === most) return image.pixels.slice(); // there is nothing to equalize

    const table = new Uint8Array(256);
    for (let k = least; k <= most; k++) {
      table[k] = Math.floor(rint(((k - least) / (most - least)) * TOP_LEVEL) / BIN_WIDTH);
    }
    const bins = levels.map((level) => table[level]);
    const tile = [height, width ?? height];
    const fresh = equalizeTiles(bins, image.height, image.width, ...tile, clipLimit);

    const result = new Uint8Array(image.pixels.length);
    if (image.channels === 1) {
      for (let j = 0; j < result.length; j++) result[j] = rint(255 * fresh[j]);
      return result;
    }
    const over = Float64Array.from({ length: 256 }, (_, k) => 255 / Math.max(k, 1));
    const share = new Float32Array(levels.length);
    for (let j = 0; j < share.length; j++) share[j] = fresh[j] * over[levels[j]];
    scaleBytes(image.pixels, result, levels, share);
    return result;
  }

  /** From bins to V in 0..1, through the maps of the four tiles around each pixel. */
  function equalizeTiles(bins, rows, columns, height, width, clipLimit) {
    const maps = tileMaps(bins, rows, columns, height, width, clipLimit);
    const down = Math.ceil(rows / height);
    const across = Math.ceil(columns / width);
    const besides = Array.from({ length: columns }, (_, x) => tilesAround(x, width, across));
    const left = Int32Array.from(besides, ([before]) => before * BINS);
    const right = Int32Array.from(besides, ([, after]) => after * BINS);
    const weight = Float64Array.from(besides, ([, , share]) => share);
    const levels = new Int32Array(rows * columns);
    let [least, most] = [TOP_LEVEL, 0];
    for (let y = 0, j = 0; y < rows; y++) {
      const [upper, lower, b] = tilesAround(y, height, down);
      const above = upper * across * BINS;
      const below = lower * across * BINS;
      for (let x = 0; x < columns; x++, j++) {
        const k = bins[j];
        const a = weight[x];
        // summed in float32, as in scikit-image: the stretch below would enlarge any other
        // rounding where a result has few levels
        let total = Math.fround(maps[above + left[x] + k] * ((1 - a) * (1 - b)));
        total = Math.fround(total + Math.fround(maps[above + right[x] + k] * (a * (1 - b))));
        total = Math.fround(total + Math.fround(maps[below + left[x] + k] * ((1 - a) * b)));
        total = Math.fround(total + Math.fround(maps[below + right[x] + k] * (a * b)));
        const level = Math.trunc(total);
        levels[j] = level;
        if (level < least) least = level;
        if (level > most) most = level;
      }
    }
    const span = most - least;
    return Float64Array.from(levels, (level) =>
      span > 0 ? (level - least) / span : Math.min(level, 1),
    );
  }

  /** What each bin becomes in each tile: the CDF of the tile's clipped histogram. */
  function tileMaps(bins, rows, columns, height, width, clipLimit) {
    const pixels = height * width;
    const limit = clipLimit > 0 ? Math.max(Math.trunc(clipLimit * pixels), 1) : pixels;
    // of a CDF of so many pixels; a tile can be given more pixels than it has
    const levelOf = new Float32Array(pixels + BINS + 1);
    for (let seen = 0; seen < levelOf.length; seen++) {
      levelOf[seen] = Math.floor(Math.min(seen * (TOP_LEVEL / pixels), TOP_LEVEL));
    }
    const down = Math.ceil(rows / height);
    const across = Math.ceil(columns / width);
    const maps = new Float32Array(down * across * BINS);
    const histogram = new Int32Array(BINS);
    for (let tile = 0; tile < down * across; tile++) {
      const top = Math.floor(tile / across) * height;
      const start = (tile % across) * width;
      const counted = countTile(bins, rows, columns, top, start, height, width, limit, histogram);
      if (counted < pixels) redistribute(histogram, limit, pixels - counted);
      let running = 0;
      for (let k = 0; k < BINS; k++) {
        running += histogram[k];
        maps[tile * BINS + k] = levelOf[Math.min(running, levelOf.length - 1)];
      }
    }
    return maps;
  }

  /** The tiles before and after a pixel, by their centres, and the weight of the one after. */
  function tilesAround(position, side, tiles) {
    const place = position + Math.floor(side / 2);
    const after = Math.floor(place / side);
    return [Math.max(after - 1, 0), Math.min(after, tiles - 1), (place % side) / side];
  }

  /** Fill in the tile's histogram, each bin up to the limit; return how many were counted. */
  function countTile(bins, rows, columns, top, start, height, width, limit, histogram) {
    histogram.fill(0);
    let counted = 0;
    for (let y = top; y < top + height; y++) {
      const line = mirrored(y, rows) * columns;
      for (let x = start; x < start + width; x++) {
        const k = bins[line + (x < columns ? x : mirrored(x, columns))];
        if (histogram[k] < limit) {
          histogram[k]++;
          counted++;
        }
      }
    }
    return counted;
  }

  /** Past the border the image is mirrored, to fill the last tiles. */
  function mirrored(position, n) {
    if (position < n) return position;
    if (n === 1) return 0;
    position %= 2 * n - 2;
    return position < n ? position : 2 * n - 2 - position;
  }

  /** Spread the excess over the bins that are not full: first an equal share to each, then what
   * is left one by one. A bin within a share of the limit is filled to it, so that in large tiles
   * more can be given than was cut. All of it as scikit-image does. */
  function redistribute(histogram, limit, excess) {
    const share = Math.trunc(excess / BINS);
    if (share) {
      for (let k = 0; k < BINS; k++) {
        const before = histogram[k];
        if (before < limit - share) histogram[k] += share;
        if (histogram[k] >= limit - share) histogram[k] = limit;
        excess -= histogram[k] - before;
      }
    }
    let full = histogram.filter((pixels) => pixels === limit).length;
    for (let start = 0; excess > 0 && full < BINS; start = (start + 1) % BINS) {
      const step = Math.max(1, Math.trunc((BINS - full) / excess));
      for (let k = start; k < BINS; k += step) {
        if (histogram[k] < limit) {
          histogram[k]++;
          excess--;
          if (histogram[k] === limit) full++;
        }
      }
    }
  }

  // ---- from an image to a unit's numbers and back

  function isValue(image, color) {
    return color === "value" && image.channels === 3;
  }

  /** Ask for each unit's table, from its levels to 0..1, and send the unit through it. */
  function throughTables(image, color, makeTable) {
    const result = new Uint8Array(image.pixels.length);
    const each = color === "channel" && image.channels === 3;
    for (let c = 0; c < (each ? 3 : 1); c++) {
      const levels = gather(image, color, c);
      const [counts, first, last] = count(levels);
      const table = makeTable(counts, levels.length, first, last);
      lookUp(image, result, color, c, levels, table, first, last);
    }
    return result;
  }

  /** The unit's numbers. */
  function gather({ pixels, channels }, color, c) {
    if (channels === 1 || color === "joint") return pixels;
    const levels = new Uint8Array(pixels.length / 3);
    for (let j = 0, i = 0; j < levels.length; j++, i += 3) {
      levels[j] =
        color === "value" ? Math.max(pixels[i], pixels[i + 1], pixels[i + 2]) : pixels[i + c];
    }
    return levels;
  }

  /** How many have each level; the first and the last level that occurs. */
  function count(levels) {
    const counts = new Int32Array(256);
    for (let j = 0; j < levels.length; j++) counts[levels[j]]++;
    let [first, last] = [0, 255];
    while (counts[first] === 0) first++;
    while (counts[last] === 0) last--;
    return [counts, first, last];
  }

  /** Send the unit's numbers through the table; one level alone stays as it is. */
  function lookUp(image, result, color, c, levels, table, first, last) {
    if (isValue(image, color)) {
      const scales = new Float32Array(256);
      for (let k = Math.max(first, 1); k <= last; k++) {
        scales[k] = first < last ? table[k] * (255 / k) : 1;
      }
      scales[0] = first === 0 && last > 0 ? 255 * table[0] : 0;
      const share = new Float32Array(levels.length);
      for (let j = 0; j < share.length; j++) share[j] = scales[levels[j]];
      scaleBytes(image.pixels, result, levels, share);
      return;
    }
    const fresh = new Uint8Array(256);
    for (let k = first; k <= last; k++) fresh[k] = first < last ? rint(255 * table[k]) : k;
    const step = levels === image.pixels ? 1 : 3; // all numbers, or those of one channel
    for (let j = 0; j < levels.length; j++) result[step * j + c] = fresh[levels[j]];
  }

  /** RGB times V'/V, which keeps hue and saturation; black has no hue and becomes grey V'. */
  function scaleBytes(pixels, result, value, share) {
    for (let j = 0, i = 0; j < value.length; j++, i += 3) {
      for (let c = i; c < i + 3; c++) {
        result[c] = rint(value[j] === 0 ? share[j] : Math.fround(pixels[c] * share[j]));
      }
    }
  }

  /** Round to the nearest whole number, and a half to the even one, as NumPy does: so large a
   * sum has no room for a fraction. */
  function rint(x) {
    return x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;
  }

  // ---- what the transforms are tried on

  /** Move every value towards its channel's mean: corruptions.contrast; severity 0 does nothing. */
  function loseContrast({ pixels, channels }, severity) {
    const factor = FACTORS[severity];
    if (factor === 1) return pixels.slice();
    const result = new Uint8Array(pixels.length);
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = c; i < pixels.length; i += channels) sum += pixels[i] / 255;
      const mean = sum / (pixels.length / channels);
      for (let i = c; i < pixels.length; i += channels) {
        const level = Math.min(Math.max((pixels[i] / 255 - mean) * factor + mean, 0), 1);
        result[i] = level * (255 + 1e-9); // so that a whole number stays one in spite of rounding
      }
    }
    return result;
  }

  return {
    contrastStretching,
    histogramEqualization,
    adaptiveHistogramEqualization,
    clahe,
    loseContrast,
  };
})();

if (typeof module !== "undefined") module.exports = contrast;
