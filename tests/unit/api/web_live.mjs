// The live feed against a made-up socket: what is asked for, and what the page may claim.
globalThis.document = { baseURI: "http://page/" };
globalThis.sessionStorage = { getItem: () => null };
globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail }) {
    super(type);
    this.detail = detail;
  }
};
const sockets = [];
globalThis.WebSocket = class {
  static OPEN = 1;

  constructor() {
    this.readyState = 1;
    this.sent = [];
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }
};
const { Live } = await import(process.argv[2] + "live.js");
const turn = () => new Promise((done) => { setTimeout(done, 0); });

let forgotten = null;
const api = { liveTicket: async () => ({ ticket: "t" }), forget: (reason) => { forgotten = reason; } };
const live = new Live(api, { url: () => "ws://page/live", random: () => -1 }); // a delay of nothing
const out = [];
let seen = null;
live.addEventListener("snapshot", ({ detail }) => { seen = `snapshot ${detail.cursor}`; });
live.addEventListener("alert", ({ detail }) => { seen = `alert ${detail.cursor}`; });
const asked = (socket) => socket.sent.filter((message) => message.type === "subscribe").at(-1);
const tell = (socket, message) => socket.onmessage({ data: JSON.stringify(message) });

live.start();
await turn();
const first = sockets.at(-1);
first.onopen();
out.push([asked(first).since ?? null, live.state]);
tell(first, { type: "snapshot", id: asked(first).id, cursor: 7, items: [] });
out.push([seen, live.state]);
tell(first, { type: "alert", id: asked(first).id, cursor: 8, change: "raised", alert: {} });
tell(first, { type: "alert", id: asked(first).id, cursor: 8, change: "raised", alert: {} });
out.push([seen, live.state]);
first.onclose({ code: 1006 });
out.push([live.state]);
await turn();
await turn();
const second = sockets.at(-1);
second.onopen();
out.push([asked(second).since, live.state]);
tell(second, { type: "alert", id: asked(second).id, cursor: 9, change: "updated", alert: {} });
out.push([seen, live.state]);
tell(second, { type: "reload", id: asked(second).id, reason: "unknown cursor" });
out.push(["reload", asked(second).since ?? null]);
tell(second, { type: "snapshot", id: asked(second).id, cursor: 20, items: [] });
out.push([seen, live.state]);
second.onclose({ code: 4009 });
out.push(forgotten);
console.log(JSON.stringify(out));
