// What is said beside the diagram. Everything that came from a node is put in as text, never as markup.
const element = (name, content, attributes = {}) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const part of [].concat(content === undefined ? [] : content)) made.append(part);
  return made;
};
const now = document.getElementById('now');

const fieldsTable = (fields) => element('table', fields.filter(([, value]) => value !== '').map(([name, value]) =>
  element('tr', [element('th', name), element('td', value)])), { class: 'fields' });

const tellCurrent = () => {
  const index = state.current;
  if (index < 0) {
    now.replaceChildren(element('h3', 'Step through the events'), element('p', [
      'Press ', element('kbd', '→'), ' for the first one, ', element('kbd', 'f'), ' for the first trouble, or point at anything in the diagram. ',
      'Time runs down; each lane is a node; each arrow is a message.']));
    return;
  }
  const event = events[index];
  const told = explain(index);
  const parts = [element('div', `${clockOf(event.t)} · event ${layout.place[index] + 1} of ${layout.shown.length}`, { class: 'when' }), element('h3', told.title)];
  if (told.arrow && told.arrow.k) parts.push(element('span', told.arrow.k + ' connection', { class: 'tag', style: `color: var(${colourName(told.arrow.k)})` }));
  told.lines.forEach((line) => parts.push(element('p', line)));
  if (told.wrong) parts.push(element('p', told.wrong, { class: told.mild ? 'when' : 'bad' }));
  if (told.fields.length) parts.push(fieldsTable(told.fields));
  if (told.arrow) {
    parts.push(element('p', 'What goes over the same link is drawn bolder.', { class: 'when' }));
    const there = told.arrow.a === index ? told.arrow.b : told.arrow.a;
    if (there !== null && layout.place[there] >= 0) {
      const button = element('button', told.arrow.a === index ? 'go to where it arrives' : 'go to where it was sent');
      button.onclick = () => select(there);
      parts.push(element('p', button));
    }
  }
  now.replaceChildren(...parts);
};

const tellFacts = () => {
  const facts = document.getElementById('facts');
  story.facts.forEach((fact) => facts.append(element('p', fact, fact.startsWith('FAILED') ? { class: 'bad' } : {})));
  story.notes.forEach((note) => facts.append(element('p', note, { class: 'note' })));
  const named = lanes.filter((lane) => lane.instances.length);
  if (named.length && arrows.some((arrow) => arrow.n.startsWith('Publish'))) {
    facts.append(element('p', 'A task is named after the instance of its publisher and a number. ' +
      named.map((lane) => `${lane.name}: ${lane.instances.join(', ')}`).join('; ') + '.', { class: 'note' }));
  }
};

const MARKS = 1500;
const marks = document.getElementById('marks');
const tellMarks = () => {
  const all = layout.shown.filter((index) => {
    const event = events[index];
    return event.c === 'fault' || event.c === 'failure' || (event.w > 0 && event.c !== 'got' && event.c !== 'disk');
  });
  document.getElementById('marks-count').textContent = all.length > MARKS ? `(the first ${MARKS} of ${all.length})` : `(${all.length})`;
  marks.replaceChildren(...all.slice(0, MARKS).map((index) => {
    const event = events[index];
    const told = explain(index);
    const text = told.wrong ? `${told.title} — ${told.wrong}` : event.c === 'fault' ? `fault: ${event.n}${event.s ? ` (${event.s})` : ''}` :
      event.c === 'failure' ? `FAILURE ${event.n}: ${event.s}` : told.lines[told.lines.length - 1] || told.title;
    const button = element('button', [element('time', seconds(event.t, 3)), element('span', text)], { 'data-event': index });
    if (event.w > 1) button.className = 'w2';
    button.onclick = () => select(index);
    return element('li', button);
  }));
};
const markCurrent = () => {
  const before = marks.querySelector('[aria-current]');
  if (before) before.removeAttribute('aria-current');
  const mark = state.current >= 0 && marks.querySelector(`[data-event="${state.current}"]`);
  if (mark) mark.setAttribute('aria-current', 'true');
};

const tip = document.getElementById('tip');
const showTip = (hit, x, y) => {
  if (!hit) { tip.hidden = true; return; }
  const told = explain(hit.event);
  const parts = [element('b', told.title), element('div', clockOf(events[hit.event].t), { class: 'when' })];
  told.lines.forEach((line) => parts.push(element('div', line)));
  if (told.wrong) parts.push(element('div', told.wrong, { class: told.mild ? 'when' : 'bad' }));
  if (told.fields.length) parts.push(fieldsTable(told.fields));
  tip.replaceChildren(...parts);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 16, innerWidth - box.width - 8)) + 'px';
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - box.height - 8)) + 'px';
};

// The legend is drawn with the very strokes of the diagram.
const tellLegend = () => {
  const legend = document.getElementById('legend');
  legend.replaceChildren();
  const sample = (text, brush) => {
    const canvas = element('canvas', undefined, { width: 124, height: 40, 'aria-hidden': 'true' });
    legend.append(canvas, element('span', text));
    const ink = canvas.getContext('2d');
    ink.scale(2, 2);
    drawWith(ink, brush);
  };
  const stroke = (dash, colour, end) => () => {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.setLineDash(dash);
    line(4, 10, 50, 10, 1.7);
    pen.setLineDash([]);
    end(50, 10);
  };
  kinds.forEach((kind) => sample(`a message on a ${kind} connection`, stroke([], kindColour(kind), (x, y) => head(x, y, 0))));
  sample('lost: it never arrived, and nobody was told', stroke([6, 4], colours.soft, ring));
  sample('cut off: its link ended while it was under way', stroke([], colours.soft, (x, y) => cross(x, y, 5)));
  sample('a dial: one node asks for a connection', stroke([1, 3], colours.soft, (x, y) => head(x, y, 0)));
  sample('under way at the end, or to a node without a trace', stroke([2, 4], colours.soft, (x, y) => head(x, y, 0)));
  const mark = (event, colour) => () => { pen.strokeStyle = pen.fillStyle = colour; shape(event, 31, 10, colour); };
  sample('a fault that was injected', mark({ c: 'fault', w: 2 }, colours.bad));
  sample('a node tells its application something', mark({ c: 'notice', w: 1 }, colours.accent));
  sample('an application asks its node for something', mark({ c: 'command', w: 1 }, colours.accent));
  sample('a node is told of a link', mark({ c: 'link', w: 0 }, colours.soft));
  sample('a timer was due', mark({ c: 'timer', w: 0 }, colours.soft));
  sample('a node starts, stops, or is no more', mark({ c: 'life', n: 'gone', w: 2 }, colours.bad));
  sample('a file is opened or there; a command starts or ends', mark({ c: 'run', w: 1 }, colours.accent));
  sample('a command runs', () => { pen.fillStyle = colours.run; pen.fillRect(28, 0, 6, 20); });
  sample('frozen or asleep', () => { pen.fillStyle = colours.sleep; pen.fillRect(22, 0, 18, 20); });
};
