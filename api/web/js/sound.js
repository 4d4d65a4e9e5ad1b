// Tones by severity with Web Audio. Browsers allow sound only after a gesture, so it is
// off until the person turns it on; the choice lasts for this tab.

const REPEAT_MS = 10_000;
/** [frequency Hz, start s, length s] of each tone: the worse, the higher, faster and longer. */
const TONES = {
  1: [[988, 0, 0.16], [740, 0.2, 0.16], [988, 0.4, 0.16], [740, 0.6, 0.16], [988, 0.8, 0.3]],
  2: [[784, 0, 0.18], [784, 0.26, 0.18], [784, 0.52, 0.22]],
  3: [[587, 0, 0.18], [659, 0.22, 0.22]],
  4: [[440, 0, 0.2]],
};

export class Sound extends EventTarget {
  constructor() {
    super();
    this.on = false;
    this.lastMs = 0;
    this.played = 0;
  }

  async toggle() {
    this.on = !this.on;
    if (this.on) {
      this.context ??= new AudioContext();
      await this.context.resume();
      this.play(4);
    }
    this.dispatchEvent(new Event("change"));
  }

  play(severity) {
    if (!this.on || !this.context) return;
    const begin = this.context.currentTime + 0.02;
    for (const [frequency, start, length] of TONES[severity] ?? TONES[4]) {
      const oscillator = new OscillatorNode(this.context, { type: "triangle", frequency });
      const gain = new GainNode(this.context, { gain: 0 });
      gain.gain.setValueAtTime(0, begin + start);
      gain.gain.linearRampToValueAtTime(0.22, begin + start + 0.015);
      gain.gain.setValueAtTime(0.22, begin + start + length - 0.03);
      gain.gain.linearRampToValueAtTime(0, begin + start + length);
      oscillator.connect(gain).connect(this.context.destination);
      oscillator.start(begin + start);
      oscillator.stop(begin + start + length + 0.02);
    }
    this.played += 1;
    this.lastMs = Date.now();
  }

  /** Called each second: a red alert nobody has acknowledged sounds again. */
  remind(someRedIsNew) {
    if (someRedIsNew && Date.now() - this.lastMs >= REPEAT_MS) this.play(1);
  }
}
