import org.HdrHistogram.EncodableHistogram;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramLogReader;

public class Read {
    public static void main(String[] arguments) throws Exception {
        HistogramLogReader reader = new HistogramLogReader(arguments[0]);
        while (reader.hasNext()) {
            EncodableHistogram interval = reader.nextIntervalHistogram();
            if (interval == null) break;
            Histogram h = (Histogram) interval;
            String tag = h.getTag() == null ? "-" : h.getTag();
            System.out.println(tag + " " + h.getTotalCount() + " " + h.getValueAtPercentile(50) + " "
                + h.getValueAtPercentile(90) + " " + h.getValueAtPercentile(99) + " " + h.getValueAtPercentile(100));
        }
    }
}
