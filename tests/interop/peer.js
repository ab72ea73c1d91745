// npm's smpp as a peer that is driven by lines of JSON: an SMSC (`peer.js smsc PORT`) or a tenant
// (`peer.js tenant PORT SYSTEM_ID PASSWORD`). It decides nothing: what is sent, and what must come, is suite.py's.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const [role, port, systemId, password] = process.argv.slice(2);
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');

// What a message says, as this library has decoded it, and its octets.
function shown(pdu) {
    const content = pdu.message_payload || pdu.short_message || {};
    const message = content.message;
    return {
        command: pdu.command,
        from: pdu.source_addr,
        to: pdu.destination_addr,
        esm_class: pdu.esm_class,
        data_coding: pdu.data_coding,
        registered_delivery: pdu.registered_delivery,
        text: typeof message === 'string' ? message : null,
        hex: Buffer.isBuffer(message) ? message.toString('hex') : null,
        udh: (content.udh || []).map((element) => element.toString('hex')),
        is_payload: pdu.message_payload !== undefined,
        sar: [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
        receipted_message_id: pdu.receipted_message_id,
        message_state: pdu.message_state,
    };
}

// The fields of a PDU from JSON: `text` or `hex`, with `udh` in hexadecimal, and `payload` to carry them in a TLV.
function fields(given) {
    const { text, hex, udh, payload, ...rest } = given;
    const message = hex === undefined ? text : Buffer.from(hex, 'hex');
    const content = { message };
    if (udh) content.udh = Buffer.from(udh, 'hex');
    if (payload) {
        rest.message_payload = content;
        rest.short_message = '';
    } else if (message !== undefined) {
        rest.short_message = content;
    }
    return rest;
}

function watch(session) {
    session.on('enquire_link', (pdu) => { session.send(pdu.response()); say({ event: 'enquired' }); });
    session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); say({ event: 'unbound' }); });
    session.on('error', (error) => say({ event: 'error', error: String(error) }));
    session.on('close', () => say({ event: 'closed' }));
    session.on('unknown', (pdu) => say({ event: 'unknown', id: pdu.command_id }));
    session.on('generic_nack', (pdu) => say({ event: 'generic_nack', status: pdu.command_status }));
}

// Sends a request and tells its response under the number that the driver gave it.
function request(session, order) {
    session[order.do](fields(order.pdu || {}), (response) => say({
        event: 'response', number: order.number, command: response.command, status: response.command_status,
        message_id: response.message_id, message_state: response.message_state,
    }));
    if (order.do === 'unbind') session.on('unbind_resp', () => session.close());
}

function stamp(date) {
    return date.toISOString().replace(/[-T:]/g, '').slice(2, 12);
}

// The text of SMPP 3.4 appendix B, and the two TLVs.
function receipt(session, pdu, id) {
    const now = stamp(new Date());
    session.deliver_sm({
        source_addr_ton: pdu.dest_addr_ton, source_addr_npi: pdu.dest_addr_npi, source_addr: pdu.destination_addr,
        dest_addr_ton: pdu.source_addr_ton, dest_addr_npi: pdu.source_addr_npi, destination_addr: pdu.source_addr,
        esm_class: 0x04, data_coding: 0,
        short_message: `id:${id} sub:001 dlvrd:001 submit date:${now} done date:${now} stat:DELIVRD err:000 text:`,
        receipted_message_id: id, message_state: 2,
    }, (response) => say({ event: 'receipt_taken', id, status: response.command_status }));
}

function smsc() {
    let next = 1;
    // The first that receives; what phones write goes over it.
    let bound = null;
    const server = smpp.createServer((session) => {
        watch(session);
        for (const kind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
            session.on(kind, (pdu) => {
                session.send(pdu.response({ system_id: 'npm-smpp' }));
                if (kind !== 'bind_transmitter') bound = bound || session;
                say({ event: 'bound', kind, system_id: pdu.system_id, password: pdu.password });
            });
        }
        for (const command of ['submit_sm', 'data_sm']) {
            session.on(command, (pdu) => {
                const id = (0xab00000 + next++).toString(16);
                session.send(pdu.response({ message_id: id }));
                say({ event: 'message', id, ...shown(pdu) });
                if (pdu.registered_delivery & 3) receipt(session, pdu, id);
            });
        }
        // One id for all; a number that ends in 99 is refused.
        session.on('submit_multi', (pdu) => {
            const id = (0xab00000 + next++).toString(16);
            const to = pdu.dest_address.map((one) => one.destination_addr);
            const refused = pdu.dest_address.filter((one) => one.destination_addr.endsWith('99'));
            session.send(pdu.response({
                message_id: id,
                unsuccess_sme: refused.map((one) => ({ ...one, error_status_code: smpp.ESME_RINVDSTADR })),
            }));
            say({ event: 'multi', id, ...shown(pdu), to });
            for (const one of pdu.dest_address) {
                if (!refused.includes(one)) receipt(session, { ...pdu, ...one }, id);
            }
        });
        for (const command of ['query_sm', 'cancel_sm', 'replace_sm']) {
            session.on(command, (pdu) => session.send(pdu.response({ command_status: smpp.ESME_RINVCMDID })));
        }
    });
    server.listen(Number(port), '127.0.0.1', () => say({ event: 'listening' }));
    return () => bound;
}

function tenant() {
    const session = smpp.connect({ host: '127.0.0.1', port: Number(port) }, () => {
        session.bind_transceiver({ system_id: systemId, password }, (pdu) => say({
            event: 'bound', status: pdu.command_status, system_id: pdu.system_id, version: pdu.sc_interface_version,
        }));
    });
    watch(session);
    for (const command of ['deliver_sm', 'data_sm']) {
        session.on(command, (pdu) => {
            session.send(pdu.response());
            say({ event: 'message', ...shown(pdu) });
        });
    }
    return () => session;
}

const session = role === 'smsc' ? smsc() : tenant();
const orders = readline.createInterface({ input: process.stdin });
orders.on('line', (line) => request(session(), JSON.parse(line)));
orders.on('close', () => process.exit(0));
