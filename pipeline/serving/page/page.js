'use strict';
// The page of a served head: asks /model what it takes, /predict for answers. Nothing leaves this server.

const SHOWN_CLASSES = 5;
const FILES_AT_ONCE = 8;
const TRIES = 5; // of a busy server
const byId = (id) => document.getElementById(id);
let model = null;
let token = '';
let running = Promise.resolve();

/** An element with attributes and children; a text is never read as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function tell(text, wrong = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('wrong', wrong);
}

async function ask(address, options = {}) {
  const headers = { ...(options.headers || {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  for (let tries = 1; ; tries++) {
    const response = await fetch(address, { ...options, headers });
    if (response.status !== 503 || tries === TRIES) return response;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get('retry-after') || 1)));
  }
}

async function start() {
  let response;
  try {
    response = await ask('model');
  } catch {
    tell('The server does not answer; is it still running?', true);
    return;
  }
  if (response.status === 401) {
    if (token) tell('That is not the token.', true);
    byId('token-form').hidden = false;
    byId('token').focus();
    return;
  }
  if (!response.ok) {
    tell((await response.json()).error, true);
    return;
  }
  model = await response.json();
  byId('token-form').hidden = true;
  tell('');
  byId('head').textContent = model.head;
  document.title = `${model.head} · Icebox`;
  byId('about').textContent = about();
  byId({ image: 'pictures-form', text: 'texts-form', pair: 'pairs-form' }[model.modality]).hidden = false;
}

function about() {
  const things = { image: 'a picture', text: 'a text', pair: 'a pair of texts' }[model.modality];
  const names = model.classes.slice(0, 12).join(', ') + (model.classes.length > 12 ? ` and ${model.classes.length - 12} more` : '');
  if (model.task === 'regression') return `Predicts a number for ${things}.`;
  if (model.task === 'multilabel') return `Finds which labels ${things} has: ${names}.`;
  return `Tells of ${things} which it is: ${names}.`;
}

/** Requests run one after the other; their answers appear at the top, the latest first. */
function enqueue(work) {
  running = running.then(work).catch((error) => tell(`The server does not answer (${error.message}); is it still running?`, true));
  return running;
}

async function predict(items, options) {
  const response = await ask(`predict${model.nearest ? '?nearest=3' : ''}`, { method: 'POST', ...options });
  const content = await response.json();
  if (content.items) return content.items;
  if (response.status === 401) start();
  return items.map(() => ({ error: content.error }));
}

function answerPictures(files) {
  const pictures = [...files].reverse(); // the first one then stands at the top
  if (!model || model.modality !== 'image' || !pictures.length) return;
  enqueue(async () => {
    let done = 0, wrong = 0;
    for (const group of groups(pictures)) {
      tell(`${done} of ${pictures.length} answered …`);
      const body = new FormData();
      for (const file of group) body.append('images', file, file.name);
      const answers = await predict(group, { body });
      answers.forEach((answer, i) => show(answer, pictureItem(group[i])));
      done += group.length;
      wrong += answers.filter((answer) => answer.error).length;
    }
    finish(pictures.length, 'picture', wrong);
  });
}

/** Files in groups that a request may hold. */
function groups(files) {
  const made = [];
  let size = Infinity;
  for (const file of files) {
    if (size + file.size > 0.9 * model.limits.body_bytes || made.at(-1).length >= Math.min(FILES_AT_ONCE, model.limits.items)) {
      made.push([]);
      size = 0;
    }
    made.at(-1).push(file);
    size += file.size;
  }
  return made;
}

function answerTexts(field, texts, shown) {
  if (!texts.length) {
    tell('There is no text yet.', true);
    return;
  }
  enqueue(async () => {
    let wrong = 0;
    for (let start = 0; start < texts.length; start += model.limits.items) {
      const group = texts.slice(start, start + model.limits.items);
      tell(`${start} of ${texts.length} answered …`);
      const headers = { 'content-type': 'application/json' };
      const answers = await predict(group, { headers, body: JSON.stringify({ [field]: group }) });
      answers.forEach((answer, i) => show(answer, element('div', { class: 'item' }, element('q', {}, shown(group[i]))), true));
      wrong += answers.filter((answer) => answer.error).length;
    }
    finish(texts.length, field === 'pairs' ? 'pair' : 'text', wrong);
  });
}

function finish(count, thing, wrong) {
  const all = `${count} ${thing}${count === 1 ? '' : 's'}`;
  const first = byId('answers').querySelector('h2');
  const label = count === 1 && first && !wrong ? `: ${first.textContent}` : '';
  tell(wrong ? `${count - wrong} of ${all} answered` : `${all} answered${label}`);
}

function pictureItem(file) {
  const image = element('img', { alt: '' });
  image.src = URL.createObjectURL(file);
  image.addEventListener('load', () => URL.revokeObjectURL(image.src), { once: true });
  image.addEventListener('error', () => image.remove(), { once: true });
  return element('div', { class: 'item' }, image, element('p', { class: 'name', title: file.name }, file.name));
}

function show(answer, item, ofText = false) {
  const article = element('article', { class: ofText ? 'of-text' : 'of-picture' }, item);
  const middle = element('div', { class: 'answer' });
  article.append(middle);
  if (answer.error) {
    middle.append(element('p', { class: 'error' }, answer.error));
  } else {
    middle.append(element('h2', {}, title(answer)));
    const scores = answer.probabilities || answer.scores;
    if (scores) middle.append(...bars(scores, answer));
    if (answer.nearest && answer.nearest.length) article.append(nearest(answer.nearest, ofText));
  }
  byId('answers').prepend(article);
}

function title(answer) {
  if ('value' in answer) return String(Number(answer.value.toPrecision(6)));
  if ('labels' in answer) return answer.labels.join(', ') || 'none of the labels';
  return answer.label;
}

/** The highest classes as bars: of probabilities to 1, of other scores between their least and their greatest. */
function bars(scores, answer) {
  const chosen = new Set(answer.labels || [answer.label]);
  const ordered = Object.entries(scores).sort((a, b) => (b[1] ?? -Infinity) - (a[1] ?? -Infinity));
  const known = ordered.map((each) => each[1]).filter((score) => score !== null);
  const [low, high] = answer.probabilities ? [0, 1] : [Math.min(...known), Math.max(...known)];
  const list = element('ul', { class: 'bars', 'aria-label': answer.probabilities ? 'Probabilities' : 'Scores' });
  ordered.forEach(([name, score], i) => {
    const bar = element('i');
    bar.style.width = score === null ? '0' : `${(100 * (score - low)) / (high - low || 1)}%`;
    const shown = score === null ? '–' : answer.probabilities ? `${(100 * score).toFixed(1)} %` : score.toFixed(2);
    const row = element('li', { class: chosen.has(name) ? 'of-chosen' : '' },
      element('span', { class: chosen.has(name) ? 'class chosen' : 'class', title: name }, name),
      element('span', { class: 'track', 'aria-hidden': 'true' }, bar),
      element('span', { class: 'number' }, shown));
    row.hidden = i >= SHOWN_CLASSES && !chosen.has(name);
    list.append(row);
  });
  const hidden = list.querySelectorAll('[hidden]');
  if (!hidden.length) return [list];
  const more = element('button', { type: 'button', class: 'plain' }, `${hidden.length} more`);
  more.addEventListener('click', () => {
    hidden.forEach((row) => { row.hidden = false; });
    more.remove();
  });
  return [list, more];
}

function nearest(items, ofText) {
  const pictures = items.some((item) => item.thumbnail);
  const list = element('ul', { class: ofText || !pictures ? 'nearest plainly' : 'nearest' });
  for (const item of items) {
    const row = element('li');
    if (item.thumbnail) row.append(thumbnail(item));
    row.append(element('span', { class: 'label' }, item.label || '–'));
    if (item.text) row.append(element('q', {}, item.text));
    row.append(element('span', { class: 'of' }, `${item.text || item.thumbnail ? '' : `${item.id}, `}distance ${item.distance.toFixed(3)}`));
    list.append(row);
  }
  return element('div', { class: 'beside' }, element('h3', {}, 'Nearest in train'), list);
}

/** A picture of train, asked for like everything else here: an <img> could send no token. */
function thumbnail(item) {
  const image = element('img', { alt: item.id, title: item.id });
  ask(item.thumbnail.replace(/^\//, '')).then(async (response) => {
    if (!response.ok) return image.remove();
    image.src = URL.createObjectURL(await response.blob());
    image.addEventListener('load', () => URL.revokeObjectURL(image.src), { once: true });
  }).catch(() => image.remove());
  return image;
}

byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token').value.trim();
  byId('token').value = '';
  start();
});
byId('pictures').addEventListener('change', (event) => {
  answerPictures(event.target.files);
  event.target.value = ''; // so that the same file can be chosen again
});
byId('texts-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const texts = byId('texts').value.split('\n').map((text) => text.trim()).filter(Boolean);
  answerTexts('texts', texts.reverse(), (text) => text); // the first one then stands at the top
});
byId('pairs-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const pair = [byId('first').value.trim(), byId('second').value.trim()];
  answerTexts('pairs', pair[0] || pair[1] ? [pair] : [], (texts) => texts.join('\n'));
});
for (const form of ['texts-form', 'pairs-form']) {
  byId(form).addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId(form).requestSubmit();
  });
}
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  byId('drop').classList.add('over');
});
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) byId('drop').classList.remove('over');
});
document.addEventListener('drop', (event) => {
  event.preventDefault();
  byId('drop').classList.remove('over');
  answerPictures(event.dataTransfer.files);
});
document.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) answerPictures(event.clipboardData.files);
});
start();
