// Numbers, sizes and times as people read them. Times are seconds since 1970.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (number) => whole.format(number);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function rate(number) {
  // Less than a twentieth would be shown as 0.0.
  return number >= 0.05 && number < 10 ? one.format(number) : whole.format(number);
}

export function short(number) {
  const units = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of units) {
    if (number >= size) return `${+(number / size).toPrecision(3)}${unit}`;
  }
  return `${+number.toPrecision(3)}`;
}

export function bytes(number) {
  let size = number;
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (size < 1024 || unit === "TiB") {
      return `${unit === "B" || size >= 100 || size % 1 === 0 ? whole.format(size) : one.format(size)} ${unit}`;
    }
    size /= 1024;
  }
  return "";
}

export function lasting(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function at(seconds, now) {
  const moment = new Date(seconds * 1000);
  const text = clock.format(moment);
  return now - seconds < 86400 ? text : `${date.format(moment)} ${text}`;
}

export const atMinute = (seconds) => minute.format(new Date(seconds * 1000));
