import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.windowing.assigners.EventTimeSessionWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.WindowAssigner;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * Counts the records of a topic by key, or sums their amounts as doubles with the option "amounts", or counts them by
 * key and window with the option "window", in a job that ends where the topic ended when it began. It has no consumer
 * group: its checkpoints hold the offsets, and Flink would but report them to one.
 *
 * <p>Arguments are Flink's configuration; the environment's BENCHMARK says what to read. Prints one line of JSON:
 * "first" is when the first record reached the function that counts, "last" when a checkpoint taken after the last
 * record was complete, "records" how many the function counted, "keys" how many of them found no state, "total" the sum
 * of all sums, or null. With windows, "records" is the sum of the counts of all windows, "keys" their number, "first"
 * when the first record reached the job's first function, and "last" when a checkpoint was complete that was taken
 * after the last window had closed.
 */
public final class FlinkCount {
    private FlinkCount() {}

    public static void main(String[] settings) throws Exception {
        JsonNode benchmark = new ObjectMapper().readTree(System.getenv("BENCHMARK"));
        Path directory = Path.of(benchmark.get("directory").asText());
        Configuration configuration = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            configuration.setString(pair[0], pair[1]);
        }
        configuration.setString("execution.checkpointing.dir", directory.resolve("checkpoints").toUri().toString());
        configuration.setString("io.tmp.dirs", directory.toString());

        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(configuration);
        boolean sums = benchmark.has("amounts");
        if (benchmark.has("window")) {
            countWindows(environment, benchmark);
        } else if (sums) {
            process(environment, benchmark, new KeyAndAmount(), new Sum(benchmark.get("records").asLong()));
        } else {
            process(environment, benchmark, new KeyAndValue(), new Count(benchmark.get("records").asLong()));
        }
        JobClient job = environment.executeAsync("count");
        try {
            long milliseconds = (long) (benchmark.get("seconds").asDouble() * 1e3);
            job.getJobExecutionResult().get(milliseconds, TimeUnit.MILLISECONDS);
        } catch (ExecutionException | TimeoutException failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1); // whatever the threads of the job do
        }

        String line = "{\"records\": %d, \"keys\": %d, \"first\": %.6f, \"last\": %.6f, \"total\": %s}";
        String total = sums ? String.format(Locale.ROOT, "%.6f", Watch.total) : "null";
        System.out.println(
                String.format(Locale.ROOT, line, Watch.counted, Watch.keys, Watch.first, Watch.last, total));
    }

    private static <V> void process(
            StreamExecutionEnvironment environment,
            JsonNode benchmark,
            KafkaRecordDeserializationSchema<Tuple2<String, V>> deserializer,
            Watch<V> watch) {
        environment
                .fromSource(source(benchmark, deserializer), WatermarkStrategy.noWatermarks(), "topic")
                .keyBy(record -> record.f0, Types.STRING)
                .process(watch);
    }

    private static <V> KafkaSource<V> source(
            JsonNode benchmark, KafkaRecordDeserializationSchema<V> deserializer) {
        return KafkaSource.<V>builder()
                .setBootstrapServers(benchmark.get("bootstrap_servers").asText())
                .setTopics(benchmark.get("topic").asText())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setDeserializer(deserializer)
                .build();
    }

    private static void countWindows(StreamExecutionEnvironment environment, JsonNode benchmark) {
        Duration length = Duration.ofMillis(benchmark.get("length").asLong());
        Duration outOfOrder = Duration.ofMillis(benchmark.get("out_of_order").asLong());
        WindowAssigner<Object, TimeWindow> windows = benchmark.get("window").asText().equals("session")
                ? EventTimeSessionWindows.withGap(length)
                : TumblingEventTimeWindows.of(length);
        environment
                .fromSource(
                        source(benchmark, new KeyAndValue()),
                        WatermarkStrategy.forBoundedOutOfOrderness(outOfOrder),
                        "topic")
                .map(new Begin())
                .returns(Types.TUPLE(Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE)))
                .keyBy(record -> record.f0, Types.STRING)
                .window(windows)
                .aggregate(new CountRecords())
                .keyBy(count -> 0, Types.INT)
                .process(new Closed(benchmark.get("records").asLong()));
    }

    /** Notes when the first record came. */
    private static final class Begin implements MapFunction<Tuple2<String, byte[]>, Tuple2<String, byte[]>> {
        private static final long serialVersionUID = 1;

        @Override
        public Tuple2<String, byte[]> map(Tuple2<String, byte[]> record) {
            if (Watch.first == 0) {
                Watch.first = Watch.now();
            }
            return record;
        }
    }

    private static final class CountRecords implements AggregateFunction<Tuple2<String, byte[]>, Long, Long> {
        private static final long serialVersionUID = 1;

        @Override
        public Long createAccumulator() {
            return 0L;
        }

        @Override
        public Long add(Tuple2<String, byte[]> record, Long count) {
            return count + 1;
        }

        @Override
        public Long getResult(Long count) {
            return count;
        }

        @Override
        public Long merge(Long one, Long other) {
            return one + other;
        }
    }

    /** Counts the windows that have closed, and their records. */
    private static final class Closed extends KeyedProcessFunction<Integer, Long, Void>
            implements CheckpointedFunction, CheckpointListener {
        private static final long serialVersionUID = 1;

        private final long records;
        private long covering = Long.MAX_VALUE;

        Closed(long records) {
            this.records = records;
        }

        @Override
        public void processElement(Long count, Context context, Collector<Void> out) {
            Watch.keys++;
            Watch.counted += count;
        }

        @Override
        public void initializeState(FunctionInitializationContext context) {}

        @Override
        public void snapshotState(FunctionSnapshotContext context) {
            if (Watch.counted == records) {
                covering = Math.min(covering, context.getCheckpointId());
            }
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (checkpoint >= covering && Watch.last == 0) {
                Watch.last = Watch.now();
            }
        }
    }

    private static final class KeyAndValue implements KafkaRecordDeserializationSchema<Tuple2<String, byte[]>> {
        private static final long serialVersionUID = 1;

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Tuple2<String, byte[]>> out) {
            out.collect(Tuple2.of(new String(record.key(), StandardCharsets.UTF_8), record.value()));
        }

        @Override
        public TypeInformation<Tuple2<String, byte[]>> getProducedType() {
            return Types.TUPLE(Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE));
        }
    }

    /** The only field that is read of an order. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Order {
        public double amount;
    }

    private static final class KeyAndAmount implements KafkaRecordDeserializationSchema<Tuple2<String, Double>> {
        private static final long serialVersionUID = 1;

        private transient ObjectReader reader;

        @Override
        public void open(DeserializationSchema.InitializationContext context) {
            reader = new ObjectMapper().readerFor(Order.class);
        }

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Tuple2<String, Double>> out)
                throws IOException {
            Order order = reader.readValue(record.value());
            out.collect(Tuple2.of(new String(record.key(), StandardCharsets.UTF_8), order.amount));
        }

        @Override
        public TypeInformation<Tuple2<String, Double>> getProducedType() {
            return Types.TUPLE(Types.STRING, Types.DOUBLE);
        }
    }

    /** Keeps the figures of a run, and notices the first checkpoint after the last record. */
    private abstract static class Watch<V> extends KeyedProcessFunction<String, Tuple2<String, V>, Void>
            implements CheckpointedFunction, CheckpointListener {
        private static final long serialVersionUID = 1;

        // Of the only instance that runs, for main to read once the job has ended.
        static long counted;
        static long keys;
        static double total;
        static double first;
        static double last;

        private final long records;
        private long covering = Long.MAX_VALUE; // the first checkpoint after the last record

        Watch(long records) {
            this.records = records;
        }

        abstract void add(V value) throws Exception;

        @Override
        public void processElement(Tuple2<String, V> record, Context context, Collector<Void> out) throws Exception {
            if (counted++ == 0) {
                first = now();
            }
            add(record.f1);
        }

        @Override
        public void initializeState(FunctionInitializationContext context) {}

        @Override
        public void snapshotState(FunctionSnapshotContext context) {
            if (counted == records) {
                covering = Math.min(covering, context.getCheckpointId());
            }
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (checkpoint >= covering && last == 0) {
                last = now();
            }
        }

        static double now() {
            return System.currentTimeMillis() / 1e3;
        }
    }

    private static final class Count extends Watch<byte[]> {
        private static final long serialVersionUID = 1;

        private transient ValueState<Long> count;

        Count(long records) {
            super(records);
        }

        @Override
        public void open(OpenContext context) {
            count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
        }

        @Override
        void add(byte[] value) throws Exception {
            Long before = count.value();
            if (before == null) {
                keys++;
                count.update(1L);
            } else {
                count.update(before + 1);
            }
        }
    }

    private static final class Sum extends Watch<Double> {
        private static final long serialVersionUID = 1;

        private transient ValueState<Double> sum;

        Sum(long records) {
            super(records);
        }

        @Override
        public void open(OpenContext context) {
            sum = getRuntimeContext().getState(new ValueStateDescriptor<>("sum", Types.DOUBLE));
        }

        @Override
        void add(Double amount) throws Exception {
            Double before = sum.value();
            double after = before == null ? amount : before + amount;
            if (before == null) {
                keys++;
                total += after;
            } else {
                total += after - before;
            }
            sum.update(after);
        }
    }
}
