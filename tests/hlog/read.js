const fs = require("fs");
const hdr = require("hdr-histogram-js");
const reader = new hdr.HistogramLogReader(fs.readFileSync(process.argv[2], "utf8"), 64);
for (let h; (h = reader.nextIntervalHistogram()) != null; ) {
  const values = [50, 90, 99, 100].map((p) => h.getValueAtPercentile(p));
  console.log(h.tag && h.tag !== "NO TAG" ? h.tag : "-", h.totalCount, ...values);
}
