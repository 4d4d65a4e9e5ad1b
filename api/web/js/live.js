// The live feed: one WebSocket, kept up. The cursor survives a lost connection, so that
// nothing is missed; the state it reports is what the page may honestly claim.
//
// connecting -> live -> reconnecting -> live …; stopped by us; refused by the server.

import { liveUrl } from "./api.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const PING_EVERY_MS = 4_000;
const SILENT_MS = 9_000;
const VEHICLES = "vehicles";
const CLOSE = { NOT_SIGNED_IN: 4001, NOT_ALLOWED: 4003, LAGGING: 4008, SIGNED_OUT: 4009 };

export class Live extends EventTarget {
  constructor(api, { url = liveUrl, random = Math.random } = {}) {
    super();
    this.api = api;
    this.url = url;
    this.random = random;
    this.state = "stopped";
    this.sinceMs = Date.now();
    this.lastFrameMs = null;
    this.nextTryMs = null;
    this.cursor = null;
    this.incidentCursor = null;
    this.exercises = false;
    this.attempt = 0;
    this.epoch = 0;
    this.subscription = 0;
    this.socket = null;
  }

  start() {
    this.stop();
    this.cursor = null;
    this.incidentCursor = null;
    this.lastFrameMs = null;
    this.attempt = 0;
    this.become("connecting");
    this.connect();
  }

  stop() {
    this.drop();
    this.become("stopped");
  }

  /** Try now instead of waiting. */
  retry() {
    if (this.state === "stopped" || this.state === "live") return;
    this.drop();
    this.connect();
  }

  /** Exercises are asked for by name only; a change needs a new snapshot. */
  showExercises(wanted) {
    this.exercises = wanted;
    if (this.state === "live") {
      this.send({ type: "unsubscribe", id: this.subscriptionId });
      this.send({ type: "unsubscribe", id: this.incidentsId });
    }
    this.cursor = null;
    this.incidentCursor = null;
    if (this.state !== "live") return;
    this.subscribe();
    this.send({ type: "unsubscribe", id: VEHICLES });
    this.watchVehicles();
  }

  /** Hand-overs at borders; the positions that come with them are not drawn. */
  watchVehicles() {
    const message = { type: "subscribe", id: VEHICLES, channel: "vehicles" };
    if (this.exercises) message.exercise = true;
    this.send(message);
  }

  become(state) {
    if (state !== this.state) {
      this.state = state;
      this.sinceMs = Date.now();
    }
    this.dispatchEvent(new Event("state"));
  }

  drop() {
    this.epoch += 1; // what an older socket still says is no longer ours
    clearTimeout(this.timer);
    clearInterval(this.watch);
    this.socket?.close();
    this.socket = null;
    this.nextTryMs = null;
  }

  async connect() {
    const epoch = this.epoch;
    let ticket;
    try {
      ({ ticket } = await this.api.liveTicket());
    } catch (error) {
      if (epoch !== this.epoch || error.status === 401) return;
      if (error.status === 403) this.become("refused");
      else this.later();
      return;
    }
    if (epoch !== this.epoch) return;
    const socket = new WebSocket(this.url());
    this.socket = socket;
    const openedMs = Date.now();
    socket.onopen = () => {
      if (epoch !== this.epoch) return;
      this.send({ type: "hello", ticket });
      this.watchVehicles();
      this.subscribe();
      this.send({ type: "ping" }); // its answer comes after what was missed
    };
    socket.onmessage = (event) => epoch === this.epoch && this.take(event.data);
    socket.onclose = (event) => epoch === this.epoch && this.closed(event.code);
    let pingedMs = openedMs;
    this.watch = setInterval(() => {
      const heardMs = Math.max(this.lastFrameMs ?? 0, openedMs);
      if (Date.now() - heardMs > SILENT_MS) {
        this.drop();
        this.later();
      } else if (Date.now() - pingedMs >= PING_EVERY_MS && socket.readyState === WebSocket.OPEN) {
        pingedMs = Date.now();
        this.send({ type: "ping" });
      }
    }, 1000);
  }

  get subscriptionId() {
    return `alerts-${this.subscription}`;
  }

  get incidentsId() {
    return `incidents-${this.subscription}`;
  }

  /** Incidents first: an alert that belongs to one comes when that is known. */
  subscribe() {
    this.subscription += 1;
    this.ask(this.incidentsId, "incidents", this.incidentCursor);
    this.ask(this.subscriptionId, "alerts", this.cursor);
  }

  ask(id, channel, since) {
    const message = { type: "subscribe", id, channel, filter: {} };
    if (this.exercises) message.exercise = true;
    if (since !== null) message.since = since;
    this.send(message);
  }

  /** What comes for the incidents' subscription. */
  takeIncident(message) {
    if (message.type === "reload") {
      this.incidentCursor = null;
      this.ask(this.incidentsId, "incidents", null);
      return;
    }
    if (message.type === "incident" && this.incidentCursor !== null && message.cursor <= this.incidentCursor) return;
    this.incidentCursor = message.cursor;
    const name = message.type === "snapshot" ? "incidents" : "incident";
    this.dispatchEvent(new CustomEvent(name, { detail: message }));
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    this.lastFrameMs = Date.now();
    if (message.id === this.incidentsId) {
      this.takeIncident(message);
      return;
    }
    const ours = message.id === undefined || message.id === this.subscriptionId;
    if (message.type === "snapshot" && ours) {
      this.cursor = message.cursor;
      this.dispatchEvent(new CustomEvent("snapshot", { detail: message }));
    } else if (message.type === "alert" && ours) {
      if (this.cursor !== null && message.cursor <= this.cursor) return;
      this.cursor = message.cursor;
      this.dispatchEvent(new CustomEvent("alert", { detail: message }));
    } else if (message.type === "reload" && ours) {
      this.cursor = null;
      this.subscribe();
      return;
    } else if (message.type === "handover") {
      this.dispatchEvent(new CustomEvent("handover", { detail: message }));
      return;
    } else if (message.type === "error") {
      this.dispatchEvent(new CustomEvent("problem", { detail: message.reason ?? "" }));
      return;
    }
    if (this.cursor !== null && this.state !== "live") {
      this.attempt = 0;
      this.become("live");
    }
  }

  closed(code) {
    this.drop();
    if (code === CLOSE.SIGNED_OUT) this.api.forget("expired");
    else if (code === CLOSE.NOT_ALLOWED) this.become("refused");
    else this.later(code === CLOSE.LAGGING);
  }

  /** Try again after a delay that doubles, with jitter so that a restart is not a stampede. */
  later(atOnce = false) {
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.attempt);
    const delay = atOnce ? 0 : longest * (0.5 + this.random() / 2);
    this.attempt += 1;
    this.nextTryMs = Date.now() + delay;
    this.become("reconnecting");
    this.timer = setTimeout(() => {
      this.nextTryMs = null;
      this.connect();
    }, delay);
  }
}
