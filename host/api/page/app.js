/* The playground: asks the server that it came from, and no other. What programs print is set as text only. */
'use strict';

const LIMITS = {
	shown: 256 * 1024, // characters of output on the page
	parts: 500, // changes between stdout and stderr on the page
	event: 16 * 1024 * 1024, // characters of one event; the end repeats the whole output
	runs: 20, // in the list of recent runs
};
const REFRESH_MS = 5000; // how often the server's state is asked for
const PAINT_MS = 40; // how often output is added to the page
const TOKEN_KEY = 'capsid-token';
const ENDS = {
	exited: 'ended by itself', signalled: 'ended by a signal', timed_out: 'over its time limit', cpu_time: 'over its processor time',
	output_limit: 'over its output limit', out_of_memory: 'out of memory', cancelled: 'cancelled', vm_lost: 'its VM was lost',
};

const $ = (id) => document.getElementById(id);
let languages = [];
let language = null; // the chosen one
const drafts = new Map(); // what was typed, by language
let running = null; // the AbortController of the run under way
let leaving = false; // Esc was pressed in the editor: the next Tab moves on

// ---- the server -------------------------------------------------------------------------------------

class ServerError extends Error {
	constructor(message, status) {
		super(message);
		this.status = status;
	}
}

/* An error's body in words; null if it is none of the server's. */
function words(body) {
	const error = body?.error;
	if (!error?.message)
		return null;
	const wait = error.retry_after ? ` Try again in ${error.retry_after} s.` : '';
	return `${error.message} (${error.code}).${wait} Trace: ${body.trace_id}`;
}

/* What the server refuses with; a body of something between it and the page says only the status. */
async function refusal(response) {
	let body = null;
	try {
		body = await response.json();
	} catch {
		// not JSON
	}
	return new ServerError(words(body) || `The server answered ${response.status} ${response.statusText}`.trim(), response.status);
}

/* fetch() with the token, that throws unless the server is content. */
async function ask(path, options = {}) {
	const token = sessionStorage.getItem(TOKEN_KEY);
	const headers = { ...options.headers };
	if (token)
		headers.Authorization = `Bearer ${token}`;
	let response;
	try {
		response = await fetch(path, { cache: 'no-store', ...options, headers });
	} catch (e) {
		if (e.name === 'AbortError')
			throw e;
		throw new ServerError('The server does not answer. Is it still running, and is the network up?', 0);
	}
	if (response.ok)
		return response;
	if (response.status === 401) {
		sessionStorage.removeItem(TOKEN_KEY);
		$('token-form').hidden = false;
	}
	throw await refusal(response);
}

/* Events of a text/event-stream, as {name, data}: the parts of the format that a server of ours uses. */
async function* events(response) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let buffer = '';
	for (;;) {
		let part;
		try {
			part = await reader.read();
		} catch (e) {
			if (e.name === 'AbortError')
				throw e;
			throw new ServerError('The connection to the server broke; what the program printed so far is below.', 0);
		}
		if (part.done)
			return;
		buffer += part.value;
		const blocks = buffer.split(/\r?\n\r?\n/);
		buffer = blocks.pop();
		if (buffer.length > LIMITS.event)
			throw new ServerError('The server sent an event that is too large.', 0);
		for (const block of blocks) {
			let name = 'message';
			const data = [];
			for (const line of block.split(/\r?\n/)) {
				if (line.startsWith('event:'))
					name = line.slice(6).trim();
				else if (line.startsWith('data:'))
					data.push(line.slice(5).replace(/^ /, ''));
			}
			if (data.length)
				yield { name, data: data.join('\n') };
		}
	}
}

// ---- output -----------------------------------------------------------------------------------------

const output = {
	waiting: [], // {channel, text} not yet on the page
	channel: '', // of the last text
	shown: 0,
	parts: 0,
	dropped: 0,
	timer: 0,
	decoders: {},
	held: {},

	clear() {
		clearTimeout(this.timer);
		Object.assign(this, { waiting: [], channel: '', shown: 0, parts: 0, dropped: 0, timer: 0, decoders: {}, held: {} });
		$('output').replaceChildren();
	},

	/* A chunk may end in the middle of a character, or between CR and LF. */
	add(channel, chunk) {
		const bytes = chunk instanceof Uint8Array;
		this.decoders[channel] ??= new TextDecoder();
		let text = this.decoders[channel].decode(bytes ? chunk : undefined, { stream: bytes });
		text = (this.held[channel] || '') + text + (bytes ? '' : chunk);
		this.held[channel] = text.endsWith('\r') ? '\r' : '';
		this.queue(channel, this.held[channel] ? text.slice(0, -1) : text);
	},

	queue(channel, text) {
		if (text && channel !== this.channel) {
			this.channel = channel;
			this.parts++;
		}
		const keep = this.parts <= LIMITS.parts ? text.slice(0, LIMITS.shown - this.shown) : '';
		this.dropped += text.length - keep.length;
		if (!keep)
			return;
		this.shown += keep.length;
		this.waiting.push({ channel, text: keep });
		this.timer ||= setTimeout(() => this.paint(), PAINT_MS);
	},

	paint() {
		const box = $('output');
		const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
		this.timer = 0;
		for (const { channel, text } of this.waiting) {
			if (box.lastChild?.className !== channel) {
				const part = document.createElement('div');
				part.className = channel;
				part.append('');
				box.append(part);
			}
			box.lastChild.firstChild.appendData(harmless(text));
		}
		this.waiting = [];
		if (follow)
			box.scrollTop = box.scrollHeight;
	},

	/* ended: whether there is a result, so that there will be no more output. */
	finish(ended) {
		for (const channel of ['stdout', 'stderr']) {
			const rest = (this.held[channel] || '') + (this.decoders[channel]?.decode() || '');
			if (rest)
				this.queue(channel, rest);
		}
		clearTimeout(this.timer);
		this.paint();
		if (this.dropped)
			this.note(`${this.dropped} further characters are not shown.`);
		else if (ended && !this.shown)
			this.note('Nothing was printed.');
	},

	note(text) {
		const part = document.createElement('div');
		part.className = 'note';
		part.textContent = text;
		$('output').append(part);
	},
};

/* Control characters, escape sequences among them, become ^X as on a terminal; those that turn the direction, <U+N>. */
function harmless(text) {
	return text.replace(/\r\n/g, '\n')
		.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, (c) => `^${String.fromCharCode(c.charCodeAt(0) ^ 0x40)}`)
		.replace(/[\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `<U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}>`);
}

/* Text as it is; what is no text came in base64. */
function chunk(event) {
	const body = JSON.parse(event.data);
	const text = typeof body === 'string' ? body : body.data;
	if (typeof text !== 'string')
		throw new ServerError(`The server sent a ${event.name} event without data.`, 0);
	return body.encoding === 'base64' ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : text;
}

// ---- a run ------------------------------------------------------------------------------------------

/* A failed request, in words; what asks for a token leads there. */
function complain_of(e, what) {
	complain(e instanceof ServerError ? e.message : `${what} could not be read: ${e.message}`);
	if (e.status === 401)
		$('token').focus();
}

function say(text) {
	$('status').textContent = text;
}

function complain(text) {
	$('error').textContent = text;
	$('error').hidden = !text;
}

/* A list of [name, value]; those without a value are left out. */
function list(facts) {
	$('facts').replaceChildren(...facts.filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => {
		const pair = document.createElement('div');
		const term = document.createElement('dt');
		const data = document.createElement('dd');
		term.textContent = name;
		data.textContent = value;
		pair.append(term, data);
		return pair;
	}));
	$('facts').hidden = false;
}

function show_end(result) {
	const end = ENDS[result.end] || result.end;
	list([
		['Exit code', result.exit_code], ['End', end], ['Signal', result.signal], ['Phase', result.phase], ['Compile', result.compile?.time], ['Load', result.load_time],
		['Exec', result.exec_time], ['Memory', result.memory_peak && `${(result.memory_peak / 1048576).toFixed(1)} MiB`],
		['Output', result.truncated ? 'cut' : undefined], ['Note', result.message], ['Trace', result.trace_id],
	]);
	say(`Finished: exit code ${result.exit_code}, ${end}, load ${result.load_time}, exec ${result.exec_time}.`);
}

/* Reads the stream to its end; the last event is the result. */
async function follow(request, signal) {
	const response = await ask('/api/v1/execute', {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
		body: JSON.stringify(request),
		signal,
	});
	if (!response.headers.get('Content-Type')?.startsWith('text/event-stream'))
		throw new ServerError('The server did not answer with a stream of events.', 0);
	for await (const event of events(response)) {
		if (event.name === 'stdout' || event.name === 'stderr')
			output.add(event.name, chunk(event));
		else if (event.name === 'end')
			return JSON.parse(event.data);
		else if (event.name === 'error')
			throw new ServerError(words(JSON.parse(event.data)) || 'The server gave up on the run without saying why.', 0);
	}
	throw new ServerError('The connection ended before the program did; what it printed so far is below.', 0);
}

function request_of() {
	const request = { language: language.name, code: $('code').value };
	if ($('timeout').value) {
		if (!$('timeout').checkValidity())
			throw new ServerError('The time limit is a whole number of seconds, 1 or more.', 0);
		request.timeout = Number($('timeout').value);
	}
	if ($('stdin').value)
		request.stdin = $('stdin').value;
	return request;
}

async function run() {
	if (running || !language)
		return;
	complain('');
	let request;
	try {
		request = request_of();
	} catch (e) {
		complain(e.message);
		return;
	}
	const controller = new AbortController();
	const begin = performance.now();
	const clock = setInterval(() => {
		$('clock').textContent = `${((performance.now() - begin) / 1000).toFixed(1)} s`;
	}, 100);
	running = controller;
	buttons();
	output.clear();
	$('facts').hidden = true;
	say(`Running ${language.title}…`);
	let result = null;
	let failure = null;
	try {
		result = await follow(request, controller.signal);
	} catch (e) {
		failure = e;
		controller.abort(); // also ends the run when its stream could not be read
	}
	clearInterval(clock);
	$('clock').textContent = '';
	running = null;
	output.finish(result !== null);
	buttons();
	finish(request, result, failure);
}

function finish(request, result, failure) {
	if (result) {
		languages.find((l) => l.name === request.language).installed = true;
		$('not-installed').hidden = language.installed;
		show_end(result);
		remember(request, result);
	} else if (failure.name === 'AbortError') {
		say('Cancelled.');
		remember(request, { end: 'cancelled' });
	} else {
		complain_of(failure, 'The answer');
		say('No result.');
		remember(request, { end: 'failed' });
	}
	state();
}

function cancel() {
	running?.abort();
}

function buttons() {
	// A disabled button loses the focus, so it is handed to the other first.
	const [on, off] = running ? ['cancel', 'run'] : ['run', 'cancel'];
	const move = document.activeElement === $(off);
	$(on).disabled = !language;
	if (move)
		$(on).focus();
	$(off).disabled = true;
	$('output').setAttribute('aria-busy', String(Boolean(running)));
}

// ---- recent runs ------------------------------------------------------------------------------------

function remember(request, result) {
	const item = document.createElement('li');
	const button = document.createElement('button');
	const title = document.createElement('strong');
	button.type = 'button';
	title.textContent = languages.find((l) => l.name === request.language).title;
	button.append(title);
	for (const text of [
		new Date().toLocaleTimeString(), result.exit_code !== undefined && `exit ${result.exit_code}`, ENDS[result.end] || result.end,
		result.load_time && `load ${result.load_time}`, result.exec_time && `exec ${result.exec_time}`,
	]) {
		if (!text)
			continue;
		const part = document.createElement('span');
		part.textContent = text;
		button.append(' ', part); // the blank is for those who hear it
	}
	button.addEventListener('click', () => {
		choose(request.language, request.code);
		$('stdin').value = request.stdin || '';
		$('timeout').value = request.timeout || '';
		$('code').focus();
	});
	item.append(button);
	$('runs').prepend(item);
	while ($('runs').children.length > LIMITS.runs)
		$('runs').lastChild.remove();
	$('no-runs').hidden = true;
}

// ---- languages --------------------------------------------------------------------------------------

/* Keeps what was typed for the language that is left. */
function choose(name, code) {
	if (language && $('code').value !== (language.hello || ''))
		drafts.set(language.name, $('code').value);
	else if (language)
		drafts.delete(language.name);
	language = languages.find((l) => l.name === name);
	$('language').value = name;
	$('code').value = code ?? drafts.get(name) ?? language.hello ?? '';
	$('example').disabled = !language.hello;
	$('not-installed').hidden = language.installed;
}

async function load_languages() {
	let body;
	try {
		body = await (await ask('/api/v1/languages')).json();
	} catch (e) {
		complain_of(e, 'The list of languages');
		say('No languages.');
		return;
	}
	languages = body.languages;
	if (!languages.length) {
		complain('The server knows no language.');
		return;
	}
	languages.sort((a, b) => a.title.localeCompare(b.title));
	$('language').replaceChildren(...languages.map((l) => new Option(`${l.title} (${l.name})`, l.name)));
	$('language').disabled = false;
	complain('');
	say('Nothing has run yet.');
	choose(languages.some((l) => l.name === 'python') ? 'python' : languages[0].name);
	buttons();
}

// ---- the server's state -----------------------------------------------------------------------------

async function state() {
	try {
		const health = await (await ask('/health')).json();
		const parts = [`Server: ${health.status}`];
		if (health.version)
			parts.push(`version ${health.version}`);
		if (health.queue) {
			const { workers, busy, waiting, limit } = health.queue;
			parts.push(`${busy} of ${workers} workers busy`, `${waiting} of ${limit} places in the queue taken`);
		}
		if (health.pool && Object.keys(health.pool).length)
			parts.push(`pool: ${Object.entries(health.pool).map(([name, count]) => `${count} ${name}`).join(', ')}`);
		$('server').textContent = parts.join(' · ');
	} catch (e) {
		$('server').textContent = e.status ? `Server: ${e.message}` : 'Server: not reachable';
	}
}

// ---- what the user does -----------------------------------------------------------------------------

function on_editor_key(event) {
	if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey)
		return;
	if (event.key === 'Escape') {
		leaving = true;
	} else if (event.key === 'Tab' && !event.shiftKey && !leaving && !running) { // Esc would cancel the run
		event.preventDefault();
		// Unlike setting the value, this can be undone with Ctrl+Z.
		document.execCommand('insertText', false, language?.name === 'go' ? '\t' : '    ');
	} else if (event.key !== 'Shift') {
		leaving = false;
	}
}

function on_key(event) {
	if (event.isComposing)
		return;
	if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
		event.preventDefault();
		run();
	} else if (event.key === 'Escape') {
		cancel();
	}
}

$('code').addEventListener('keydown', on_editor_key);
$('code').addEventListener('blur', () => { leaving = false; });
document.addEventListener('keydown', on_key);
$('run').addEventListener('click', run);
$('cancel').addEventListener('click', cancel);
$('language').addEventListener('change', () => choose($('language').value));
$('example').addEventListener('click', () => {
	$('code').value = language.hello;
	$('code').focus();
});
$('token-form').addEventListener('submit', (event) => {
	event.preventDefault();
	sessionStorage.setItem(TOKEN_KEY, $('token').value);
	$('token').value = '';
	$('token-form').hidden = true;
	complain('');
	$('code').focus();
	if (!language)
		load_languages();
	state();
});
setInterval(() => {
	if (document.visibilityState === 'visible' && $('token-form').hidden)
		state();
}, REFRESH_MS);
load_languages();
state();
