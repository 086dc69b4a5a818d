// PostgreSQL's frontend/backend protocol, version 3, as far as the bridge must read it.
// Source: the PostgreSQL manual, chapter "Frontend/Backend Protocol", "Message Formats".

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

// The frames of a socket, each whole, however the network cut it. The first kind has no type byte; SSL is declined.
export async function* frames(socket) {
    let held = [];
    let size = 0;
    let started = false;
    for await (const chunk of socket) {
        held.push(chunk);
        size += chunk.length;
        for (;;) {
            const head = started ? 1 : 0;
            if (size < head + 4) break;
            if (held[0].length < head + 4) held = [Buffer.concat(held)];
            const length = head + held[0].readInt32BE(head);
            if (size < length) break;
            // Joined once per frame: joining at every chunk would copy a frame of megabytes again and again.
            const all = held.length === 1 ? held[0] : Buffer.concat(held);
            const frame = all.subarray(0, length);
            held = length === size ? [] : [all.subarray(length)];
            size -= length;
            if (started) {
                yield { type: String.fromCharCode(frame[0]), bytes: frame };
                continue;
            }
            const code = frame.readInt32BE(4);
            if (code === SSL_REQUEST || code === GSS_REQUEST) {
                socket.write('N');
            } else if (code === CANCEL_REQUEST) {
                return;
            } else {
                started = true;
                yield { type: 'startup', parameters: startupParameters(frame.subarray(8)) };
            }
        }
    }
}

// What a startup message sets for the session: its own parameters, and each `-c name=value` of `options`.
function startupParameters(bytes) {
    const words = bytes.toString('utf8').split('\0');
    const settings = new Map();
    for (let i = 0; i + 1 < words.length && words[i] !== ''; i += 2) {
        const [name, value] = [words[i], words[i + 1]];
        if (name === 'options') {
            for (const [, key, of] of value.matchAll(/-c\s*([^\s=]+)=((?:\\.|[^\s\\])*)/g)) {
                settings.set(key, of.replace(/\\(.)/g, '$1'));
            }
        } else if (name !== 'user' && name !== 'database' && name !== 'replication') {
            settings.set(name, value);
        }
    }
    return settings;
}

// The frame with `prefix` before the name of the prepared statement or portal in it. Unnamed ones stay unnamed.
export function named(frame, prefix) {
    const text = (from) => frame.bytes.toString('latin1', from, frame.bytes.indexOf(0, from));
    // Where names start, by type: Parse a statement; Bind a portal, then a statement; Describe and Close 'S' or 'P',
    // then either; Execute a portal.
    let places;
    if (frame.type === 'P' || frame.type === 'E') places = [5];
    else if (frame.type === 'B') places = [5, 5 + text(5).length + 1];
    else if (frame.type === 'D' || frame.type === 'C') places = [6];
    else return frame.bytes;
    const pieces = [];
    let from = 0;
    for (const place of places.filter((place) => text(place) !== '')) {
        pieces.push(frame.bytes.subarray(from, place), Buffer.from(prefix));
        from = place;
    }
    if (from === 0) return frame.bytes;
    pieces.push(frame.bytes.subarray(from));
    const bytes = Buffer.concat(pieces);
    bytes.writeInt32BE(bytes.length - 1, 1);
    return bytes;
}

// The name of the statement that a Parse makes; '' is the unnamed one.
export function statementOf(frame) {
    return frame.type === 'P' ? frame.bytes.toString('latin1', 5, frame.bytes.indexOf(0, 5)) : '';
}

export function message(type, ...parts) {
    const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : Buffer.from(part))));
    const head = Buffer.alloc(5);
    head.write(type, 0, 'latin1');
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
}

// The status byte of the last ReadyForQuery among backend messages: I idle, T in a transaction, E in a failed one.
// '' when there is none.
export function readyStatus(bytes) {
    let status = '';
    for (let at = 0; at + 5 <= bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
        if (bytes[at] === 0x5a) status = String.fromCharCode(bytes[at + 5]);
    }
    return status;
}
