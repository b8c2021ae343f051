// Draws what is in sight, and nothing else.
const view = document.getElementById('view');
const main = view.getContext('2d');
let pen = main;
const scroll = document.getElementById('scroll');
const colours = {};
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['bg', 'panel', 'ink', 'soft', 'line', 'lane', 'accent', 'bad', 'badsoft', 'good', 'run', 'sleep', 'sel',
    'k-registration', 'k-task', 'k-file', 'k-query', 'k-probe', 'k-messages', 'k-other']) {
    colours[name] = style.getPropertyValue('--' + name).trim();
  }
};
const kindColour = (kind) => colours[colourName(kind).slice(2)];
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const STRONG = '600 ' + FONT;

// What is drawn where, for the pointer; made anew with each picture.
let hits = [];
// Where words stand already, in this picture.
let taken = [];
const isFree = (x, y, w, h) => !taken.some((box) => x < box[0] + box[2] && x + w > box[0] && y < box[1] + box[3] && y + h > box[1]);
const widths = new Map();
const widthOf = (text, font) => {
  const key = font + text;
  let width = widths.get(key);
  if (width === undefined) {
    pen.font = font;
    width = pen.measureText(text).width;
    if (widths.size > 20000) widths.clear();
    widths.set(key, width);
  }
  return width;
};
// Words in the first place that is free; none, if none is.
const words = (text, places, colour, options = {}) => {
  const font = options.strong ? STRONG : FONT;
  const width = widthOf(text, font) + 6, height = 14;
  for (const [x, y] of places) {
    const left = options.centre ? x - width / 2 : x, top = y - height / 2;
    if (!options.always && (left + width > layout.width || !isFree(left, top, width, height))) continue;
    taken.push([left, top, width, height]);
    pen.font = font;
    pen.globalAlpha = options.fill ? 1 : 0.86;
    pen.fillStyle = options.fill || colours.bg;
    pen.fillRect(left, top, width, height);
    pen.globalAlpha = 1;
    pen.fillStyle = colour;
    pen.textBaseline = 'middle';
    pen.textAlign = 'left';
    pen.fillText(text, left + 3, y + 0.5);
    return true;
  }
  return false;
};
const clip = (text, most) => (text.length > most ? text.slice(0, most - 1) + '…' : text);

const draw = () => {
  const width = scroll.clientWidth, height = scroll.clientHeight;
  const ratio = window.devicePixelRatio || 1;
  if (view.width !== Math.round(width * ratio) || view.height !== Math.round(height * ratio)) {
    view.width = Math.round(width * ratio);
    view.height = Math.round(height * ratio);
    view.style.width = width + 'px';
    view.style.height = height + 'px';
  }
  const top = scroll.scrollTop, left = scroll.scrollLeft, bottom = top + height;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colours.bg;
  pen.fillRect(0, 0, width, height);
  pen.setTransform(ratio, 0, 0, ratio, -left * ratio, -top * ratio);
  hits = [];
  taken = [];
  const first = firstAt(top - 40), last = firstAt(bottom + 40);
  drawCurrent(left, width);
  drawQuiet(top, bottom);
  drawLanes(top, bottom);
  drawTimes(first, last, left, top);
  const inSight = [];
  let end = layout.arrows.length;
  for (let low = 0, high = end; low < high;) {
    const middle = (low + high) >> 1;
    if (layout.arrows[middle].top <= bottom + 40) low = middle + 1; else high = middle;
    end = low;
  }
  for (let at = end - 1; at >= 0 && layout.reach[at] >= top - 40; at--) {
    if (layout.arrows[at].bottom >= top - 40) inSight.push(layout.arrows[at]);
  }
  const lines = inSight.reverse().map(drawArrow);
  // Words by what matters most: what stands first keeps its place.
  for (let at = first; at < last; at++) drawMark(layout.shown[at], 2, left, width);
  lines.filter((line) => line.wrong).forEach((line) => label(line, top, bottom));
  for (let at = first; at < last; at++) drawMark(layout.shown[at], 1, left, width);
  lines.filter((line) => !line.wrong).forEach((line) => label(line, top, bottom));
  for (let at = first; at < last; at++) drawMark(layout.shown[at], 0, left, width);
};

const drawCurrent = (left, width) => {
  const index = state.current;
  if (index < 0 || layout.place[index] < 0) return;
  pen.fillStyle = colours.sel;
  pen.fillRect(left, layout.y[index] - 8, width, 16);
};

const drawQuiet = (top, bottom) => {
  for (const [y, passed] of layout.quiet) {
    if (y < top - 20 || y > bottom + 20) continue;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(LEFT - 20, y);
    pen.lineTo(layout.width - 10, y);
    pen.stroke();
    pen.setLineDash([]);
    words(`${spanOf(passed)} later`, [[LEFT - 88, y]], colours.soft, { always: true });
  }
};

// The lanes: a line while the node lives, a band while it stands still or a command runs.
const drawLanes = (top, bottom) => {
  for (const lane of layout.lanes) {
    const x = layout.x.get(lane);
    if (lane === WORLD || state.hiddenLanes.has(lane)) {
      pen.strokeStyle = colours.line;
      pen.setLineDash([1, 4]);
      line(x, top, x, bottom, 1);
      pen.setLineDash([]);
      continue;
    }
    for (const [from, to, what] of lanes[lane].runs) {
      band(x + 5, 6, from, to, colours.run, top, bottom, (y) => ({ kind: 'text', text: what, x, y }));
    }
    for (const [from, to, what] of lanes[lane].spans) {
      const [y1, y2] = [heightOf(from), heightOf(to)];
      if (y2 < top || y1 > bottom) continue;
      if (what !== 'up') band(x - 9, 18, from, to, colours.sleep, top, bottom);
      pen.strokeStyle = what === 'up' ? colours.lane : colours.accent;
      pen.setLineDash(what === 'up' ? [] : [5, 4]);
      line(x, Math.max(y1, top - 10), x, Math.min(y2, bottom + 10), 2);
      pen.setLineDash([]);
    }
  }
};
const band = (x, width, from, to, colour, top, bottom) => {
  const y1 = Math.max(heightOf(from), top - 10), y2 = Math.min(heightOf(to), bottom + 10);
  if (y2 <= y1) return;
  pen.fillStyle = colour;
  pen.fillRect(x, y1, width, y2 - y1);
};
const line = (x1, y1, x2, y2, width) => {
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
};
// Where a moment is: between the events around it.
const heightOf = (t) => {
  const { shown, y } = layout;
  let low = 0, high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[shown[middle]].t < t) low = middle + 1; else high = middle;
  }
  if (low === shown.length) return layout.height;
  if (low === 0) return events[shown[0]].t === t ? y[shown[0]] : 0;
  const one = shown[low - 1], two = shown[low];
  const span = events[two].t - events[one].t;
  return y[one] + (y[two] - y[one]) * (span ? (t - events[one].t) / span : 1);
};

const drawTimes = (first, last, left, top) => {
  pen.font = '11px ui-monospace, Menlo, Consolas, monospace';
  pen.textBaseline = 'middle';
  pen.textAlign = 'right';
  let free = -100, told = '';
  for (let at = first; at < last; at++) {
    const index = layout.shown[at], y = layout.y[index];
    if (y - free < 34 && index !== state.current) continue;
    const text = seconds(events[index].t, 6);
    if (text === told) continue;
    pen.fillStyle = index === state.current ? colours.ink : colours.soft;
    pen.fillText(text, left + LEFT - 20, y);
    free = y;
    told = text;
  }
};

// One arrow; what is to be written at it.
const drawArrow = (drawn) => {
  const arrow = arrows[drawn.index];
  const current = state.current >= 0 && events[state.current].a === drawn.index;
  const start = drawn.from >= 0 ? layout.x.get(laneOf(events[drawn.from])) : null;
  const finish = drawn.to >= 0 ? layout.x.get(laneOf(events[drawn.to])) : null;
  const known = arrow.o !== undefined && !state.hiddenLanes.has(arrow.o) ? layout.x.get(arrow.o) : null;
  const away = (x) => (known !== null && known !== x ? known : x + (x > layout.width - 160 ? -110 : 110));
  let x1 = start !== null ? start : away(finish), x2 = finish !== null ? finish : away(start);
  let { y1, y2 } = drawn;
  const fate = arrow.f, quiet = KEEPALIVE.has(arrow.n) || HANDSHAKE.has(arrow.n);
  const wrong = !['arrived', 'open', 'beyond'].includes(fate);
  const colour = arrow.n === 'dial' ? colours.soft : kindColour(arrow.k);
  // What does not arrive ends on its way.
  const short = fate === 'damaged' || (fate === 'arrived' && drawn.to >= 0 && drawn.from >= 0) ? 1 : fate === 'arrived' ? 1 : 0.62;
  if (short < 1) {
    if (start !== null) { x2 = x1 + (x2 - x1) * short; y2 = y1 + (y2 - y1) * short; }
    else { x1 = x2 - (x2 - x1) * short; y1 = y2 - (y2 - y1) * short; }
  }
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  pen.globalAlpha = current ? 1 : quiet && !wrong ? 0.6 : 0.95;
  pen.setLineDash(fate === 'lost' || fate === 'failed' ? [6, 4] : fate === 'open' || fate === 'beyond' ? [2, 4] : arrow.n === 'dial' ? [1, 3] : []);
  const kin = !current && state.current >= 0 && events[state.current].a !== undefined && arrows[events[state.current].a].i === arrow.i;
  const weight = current ? 3.2 : kin ? 2.4 : quiet ? 1.2 : 1.7;
  if (kin) pen.globalAlpha = 1;
  const self = start !== null && finish !== null && start === finish;
  if (self) {
    pen.lineWidth = weight;
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.bezierCurveTo(x1 + 46, y1, x1 + 46, y2, x2 + 2, y2);
    pen.stroke();
  } else {
    line(x1, y1, x2, y2, weight);
  }
  pen.setLineDash([]);
  const angle = self ? Math.PI : Math.atan2(y2 - y1, x2 - x1);
  if (fate === 'arrived' || fate === 'damaged' || fate === 'beyond' || fate === 'open' || fate === 'stranger') head(x2, y2, angle);
  pen.globalAlpha = 1;
  if (fate === 'cut' || fate === 'failed') cross(x2, y2, 5);
  if (fate === 'damaged') cross(x2 - 10 * Math.cos(angle), y2 - 10 * Math.sin(angle), 4);
  if (fate === 'lost') ring(x2, y2);
  if (short < 1) taken.push([x2 - 6, y2 - 6, 12, 12]);
  hits.push({ arrow: drawn.index, x1, y1, x2, y2, event: drawn.from >= 0 ? drawn.from : drawn.to });
  const event = drawn.from >= 0 ? events[drawn.from] : events[drawn.to];
  const text = arrow.n === 'dial' ? 'dial' : event.n;
  const suffix = wrong ? ` — ${FATES[fate].toLowerCase()}${fate === 'failed' ? ': ' + arrow.y.split(':')[0] : ''}` : '';
  return { x1, y1, x2, y2, self, text: clip(text + suffix, 54), colour: wrong ? colours.bad : colour, wrong, current, stub: short < 1, comes: start === null };
};
const ring = (x, y) => {
  pen.strokeStyle = colours.bad;
  pen.lineWidth = 1.6;
  pen.beginPath();
  pen.arc(x, y, 4, 0, 7);
  pen.stroke();
};
const head = (x, y, angle) => {
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x - 9 * Math.cos(angle - 0.38), y - 9 * Math.sin(angle - 0.38));
  pen.lineTo(x - 9 * Math.cos(angle + 0.38), y - 9 * Math.sin(angle + 0.38));
  pen.fill();
};
const cross = (x, y, size) => {
  pen.strokeStyle = colours.bad;
  line(x - size, y - size, x + size, y + size, 2.2);
  line(x - size, y + size, x + size, y - size, 2.2);
};
const label = (arrow, top, bottom) => {
  const { x1, y1, x2, y2 } = arrow;
  const along = (part) => [x1 + (x2 - x1) * part, y1 + (y2 - y1) * part - 1];
  let places = [0.5, 0.36, 0.64, 0.24, 0.76].map(along);
  if (arrow.self) places = [[x1 + 66, (y1 + y2) / 2]];
  if (arrow.stub) {
    // On its way if there is room, else behind where it ended.
    const half = widthOf(arrow.text, arrow.current || arrow.wrong ? STRONG : FONT) / 2, long = Math.abs(x2 - x1), way = Math.sign(x2 - x1) || 1;
    const [x, y] = arrow.comes ? [x1 - way * (half + 8), y1] : [x2 + way * (half + 12), y2];
    const behind = [[x, y + 1], [x, y + 14]];
    places = half * 2 + 24 < long ? [along(0.5), along(0.42), ...behind] : [...behind, along(0.5)];
  }
  const inSight = places.filter(([, y]) => y > top - 8 && y < bottom + 8);
  words(arrow.text, inSight, arrow.colour, { centre: true, strong: arrow.current || arrow.wrong, always: arrow.current });
};

// What happens on a lane. `weight`: only what matters so much.
const drawMark = (index, weight, left, width) => {
  const event = events[index];
  if (event.w !== weight) return;
  const x = layout.x.get(laneOf(event)), y = layout.y[index];
  const current = index === state.current;
  const message = isMessage(event) || (event.a !== undefined && arrows[event.a].n === 'dial');
  const colour = message ? kindColour(event.k) : event.w > 1 ? colours.bad : event.w > 0 ? colours.accent : colours.soft;
  hits.push({ event: index, x1: x, y1: y, x2: x, y2: y });
  pen.fillStyle = colour;
  pen.strokeStyle = colour;
  if (event.c === 'failure' || event.c === 'fault') {
    pen.globalAlpha = event.c === 'failure' ? 1 : 0.45;
    pen.setLineDash(event.c === 'failure' ? [] : [3, 5]);
    if (event.w > 1) line(LEFT - 14, y, layout.width - 12, y, event.c === 'failure' ? 2.5 : 1);
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }
  shape(event, x, y, colour);
  if (current) {
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 9, 0, 7);
    pen.stroke();
  }
  if (message || event.c === 'timer') return;
  const failure = event.c === 'failure', world = event.l === undefined;
  const text = failure ? `FAILURE — ${event.n}: ${clip(event.s || '', 90)}` : world && event.c === 'remark' ? clip(event.s, 60) : clip(event.n, 40);
  const size = widthOf(text, weight > 1 ? STRONG : FONT);
  const right = [x + 11, y], across = [x - 15 - size, y];
  const places = failure ? [[left + LEFT - 8, y + 11]] : world ? [right] : x + 11 + size > layout.width - 6 ? [across, right] : [right, across];
  const fill = failure ? colours.bad : undefined;
  words(text, places, failure ? colours.bg : colour, { strong: weight > 1, always: current || failure, fill });
};
const shape = (event, x, y, colour) => {
  pen.beginPath();
  switch (event.c) {
    case 'sent': case 'got': pen.arc(x, y, 2.6, 0, 7); pen.fill(); break;
    case 'timer': pen.arc(x, y, 3.6, 0, 7); pen.fillStyle = colours.bg; pen.fill(); pen.lineWidth = 1.2; pen.stroke(); line(x, y, x, y - 2.6, 1); break;
    case 'notice': pen.moveTo(x, y - 5); pen.lineTo(x + 5, y); pen.lineTo(x, y + 5); pen.lineTo(x - 5, y); pen.fill(); break;
    case 'command': pen.moveTo(x - 4, y - 5); pen.lineTo(x + 5, y); pen.lineTo(x - 4, y + 5); pen.fill(); break;
    case 'link': pen.arc(x, y, 4, 0, 7); pen.fillStyle = colours.bg; pen.fill(); pen.lineWidth = 1.6; pen.stroke(); if (event.w > 1) cross(x, y, 4); break;
    case 'disk': case 'run': case 'remark': pen.rect(x - 3.5, y - 3.5, 7, 7); pen.fill(); break;
    case 'life': pen.rect(x - 7, y - 2, 14, 4); pen.fill(); if (event.n === 'gone') cross(x, y, 6); break;
    case 'damage': cross(x, y, 5); break;
    default: // a fault, a failure
      pen.fillStyle = event.w > 1 ? colours.bad : colours.soft;
      pen.moveTo(x + 1, y - 8); pen.lineTo(x - 5, y + 1.5); pen.lineTo(x - 0.5, y + 1.5); pen.lineTo(x - 2, y + 8); pen.lineTo(x + 5, y - 1.5); pen.lineTo(x + 0.5, y - 1.5); pen.fill();
  }
};

// The whole time on the left: where much happens, where trouble is, and what is in sight.
const map = document.getElementById('map');
let whole = null; // all but what is in sight, drawn once an arrangement
const sizeMap = (canvas) => {
  const ratio = window.devicePixelRatio || 1;
  const width = map.clientWidth, height = map.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ink = canvas.getContext('2d');
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  return { ink, width, height, part: height / Math.max(1, layout.height) };
};
const drawWhole = () => {
  whole = document.createElement('canvas');
  const { ink, width, height, part } = sizeMap(whole);
  const counts = new Uint16Array(Math.ceil(height / 3) + 1);
  for (const index of layout.shown) counts[Math.floor((layout.y[index] * part) / 3)]++;
  const most = counts.reduce((one, other) => Math.max(one, other), 1);
  ink.fillStyle = colours.lane;
  ink.globalAlpha = 0.55;
  counts.forEach((count, at) => count && ink.fillRect(4, at * 3, 4 + (count / most) * (width - 16), 2));
  ink.globalAlpha = 1;
  ink.fillStyle = colours.bad;
  for (const index of layout.shown) {
    const event = events[index];
    if (event.c === 'failure') ink.fillRect(0, layout.y[index] * part - 2, width, 4);
    else if (isTrouble(event)) ink.fillRect(width - (event.c === 'fault' ? 9 : 5), layout.y[index] * part - 1, 9, 2);
  }
};
const drawMap = () => {
  if (!whole) drawWhole();
  const { ink, width, height, part } = sizeMap(map);
  ink.drawImage(whole, 0, 0, width, height);
  if (state.current >= 0 && layout.place[state.current] >= 0) {
    ink.fillStyle = colours.ink;
    ink.fillRect(0, layout.y[state.current] * part - 1, width, 2);
  }
  const seen = Math.max(8, scroll.clientHeight * part);
  ink.strokeStyle = colours.accent;
  ink.lineWidth = 2;
  ink.strokeRect(1, scroll.scrollTop * part + 1, width - 2, seen - 2);
  ink.globalAlpha = 0.14;
  ink.fillStyle = colours.accent;
  ink.fillRect(1, scroll.scrollTop * part, width - 2, seen);
  ink.globalAlpha = 1;
};
