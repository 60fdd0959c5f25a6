// The connection: one WebSocket for events and pictures. It is made anew, ever more patiently, when it breaks.
const $ = id => document.getElementById(id);
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const view = new URLSearchParams(location.search).get('view');
const state = {
  header: null, settings: null, frame: null, vitals: null, offset: null, ended: false,
  turns: [],          // {t_ms, voice, ids}: what holds from t_ms on
  frames: [],         // of the last two seconds, to go with pictures
};
const listeners = {};
const on = (kind, f) => (listeners[kind] ||= []).push(f);
const tell = (kind, what) => (listeners[kind] || []).forEach(f => f(what));

// The token has become a cookie: it should not stay in the address, the history or a photo of the wall.
if (new URLSearchParams(location.search).has('token')) {
  const url = new URL(location.href);
  url.searchParams.delete('token');
  history.replaceState(null, '', url);
}

const MAX_WAIT_MS = 10000;
let socket = null, waitMs = 500, lastFrameAt = 0, version = null;

function connect() {
  showLink('wait', 'Connecting');
  const pictures = view === 'overlay' ? '' : '?picture=1';
  socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws${pictures}`);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => { waitMs = 500; lastFrameAt = performance.now(); state.ended = false; showLink('live', 'Live'); newVersion(); };
  socket.onmessage = ({ data }) => typeof data === 'string' ? receive(JSON.parse(data)) : tell('picture', {
    t_ms: new DataView(data).getFloat64(0, true),
    jpeg: new Blob([new Uint8Array(data, 8)], { type: 'image/jpeg' }),
  });
  socket.onclose = async () => {
    showLink('lost', 'Connection lost');
    const wait = waitMs * (0.8 + 0.4 * Math.random());
    waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
    setTimeout(connect, wait);
    // A WebSocket does not say why it was refused.
    const answer = await fetch('/health', { cache: 'no-store' }).catch(() => null);
    if (answer && answer.status === 401) showLink('lost', 'Token required: open /?token=…');
    if (answer && answer.status === 503 && !('ok' in await answer.clone().json())) showLink('lost', 'Too many clients');
  };
}

function receive(m) {
  switch (m.type) {
    case 'header': state.header = m; break;
    case 'settings': state.settings = m; break;
    case 'vitals': state.vitals = m; break;
    case 'offset': state.offset = m; break;
    case 'history': state.turns = m.speaking; break;
    case 'summary': state.ended = true; break;
    case 'speaking': addTurn(m); break;
    case 'frame':
      lastFrameAt = performance.now();
      if (state.frame && m.t_ms < state.frame.t_ms) state.frames = [];
      state.frame = m;
      state.frames.push(m);
      while (m.t_ms - state.frames[0].t_ms > 2000) state.frames.shift();
      break;
  }
  tell(m.type, m);
}

function addTurn({ t_ms, voice, ids }) {
  // The time line may have jumped back.
  while (state.turns.length && state.turns.at(-1).t_ms >= t_ms) state.turns.pop();
  state.turns.push({ t_ms, voice, ids });
  while (state.turns.length > 1 && t_ms - state.turns[1].t_ms > 600000) state.turns.shift();
}

function showLink(kind, text) {
  $('link').dataset.state = kind;
  if ($('link-text').textContent !== text) $('link-text').textContent = text;
  document.body.classList.toggle('stale', kind === 'lost');
}

// Connected, and yet nothing comes.
setInterval(() => {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  const s = Math.floor((performance.now() - lastFrameAt) / 1000);
  if (state.ended) showLink('ended', 'Ended');
  else if (s >= 3) showLink('wait', `No data for ${s} s`);
  else showLink('live', 'Live');
}, 1000);

// After an update of the program a page that hangs on a wall must not stay the old one.
async function newVersion() {
  const answer = await fetch('/', { method: 'HEAD', cache: 'no-store' }).catch(() => null);
  const tag = answer && answer.ok && answer.headers.get('etag');
  if (version && tag && tag !== version) location.reload();
  version = tag || version;
}
