import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TopologyConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Counts the records of a topic by key, or sums their amounts as doubles with the option "amounts", or counts them by
 * key and window with the option "window", until it has counted, and committed, as many as the topic has.
 *
 * <p>Arguments are properties of Kafka Streams; the environment's BENCHMARK says what to read. Prints one line of JSON:
 * "first" is when the first record reached the topology, "last" when the group's offsets covered every record, which
 * Kafka Streams commits after the counts and their changelog. "records" is the sum of the counts in the store. With
 * sums, it is the number of records seen, and "total" is the sum of the sums in the store. With windows, all of them
 * stay in the store, and "keys" is their number.
 */
public final class KafkaStreamsCount {
    private static final String STORE = "counts";

    private final long records;
    private final boolean sums;
    private final Window window; // null for none
    private final CountDownLatch reached = new CountDownLatch(1);
    private long seen; // by the only stream thread
    private double first;

    private KafkaStreamsCount(long records, boolean sums, Window window) {
        this.records = records;
        this.sums = sums;
        this.window = window;
    }

    public static void main(String[] settings) throws Exception {
        JsonNode benchmark = new ObjectMapper().readTree(System.getenv("BENCHMARK"));
        String application = "kafka-streams-" + UUID.randomUUID();
        Properties properties = new Properties();
        properties.load(new StringReader(String.join("\n", settings)));
        properties.setProperty(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.setProperty(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, benchmark.get("bootstrap_servers").asText());
        properties.setProperty(StreamsConfig.STATE_DIR_CONFIG, benchmark.get("directory").asText());
        new KafkaStreamsCount(
                        benchmark.get("records").asLong(), benchmark.has("amounts"), Window.of(benchmark))
                .run(properties, application, benchmark.get("topic").asText(), benchmark.get("seconds").asDouble());
    }

    private void run(Properties properties, String application, String topic, double seconds) throws Exception {
        long deadline = System.nanoTime() + (long) (seconds * 1e9);
        StreamsBuilder builder = new StreamsBuilder(new TopologyConfig(new StreamsConfig(properties)));
        KGroupedStream<String, byte[]> grouped = builder.stream(
                        topic, Consumed.with(Serdes.String(), Serdes.ByteArray()))
                .processValues(Watch::new)
                .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()));
        if (window != null) {
            window.count(grouped);
        } else if (sums) {
            ObjectReader reader = new ObjectMapper().readerFor(Order.class);
            grouped.aggregate(
                    () -> 0.0,
                    (key, value, sum) -> sum + amount(reader, value),
                    Materialized.<String, Double, KeyValueStore<Bytes, byte[]>>as(STORE)
                            .withKeySerde(Serdes.String())
                            .withValueSerde(Serdes.Double()));
        } else {
            grouped.count(Materialized.as(STORE));
        }
        String servers = properties.getProperty(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG);
        try (KafkaStreams streams = new KafkaStreams(builder.build(), properties);
                Admin admin = Admin.create(Map.of("bootstrap.servers", servers))) {
            streams.setUncaughtExceptionHandler(KafkaStreamsCount::fail);
            streams.start();
            if (!reached.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)) {
                fail(new IllegalStateException("saw " + seen + " of " + records + " records in time"));
            }
            while (committed(admin, application) < records) {
                if (System.nanoTime() > deadline) {
                    fail(new IllegalStateException("did not commit all records in time"));
                }
                Thread.sleep(10);
            }
            double last = now();
            long keys = 0;
            double total = 0;
            try (KeyValueIterator<?, ? extends Number> all = entries(streams)) {
                while (all.hasNext()) {
                    keys++;
                    total += all.next().value.doubleValue();
                }
            }
            long counted = sums ? seen : (long) total;
            String line = "{\"records\": %d, \"keys\": %d, \"first\": %.6f, \"last\": %.6f, \"total\": %s}";
            String sum = sums ? String.format(Locale.ROOT, "%.6f", total) : "null";
            System.out.println(String.format(Locale.ROOT, line, counted, keys, first, last, sum));
            streams.close(Duration.ofSeconds(30));
            admin.deleteTopics(List.of(application + "-" + STORE + "-changelog")).all().get();
        }
    }

    private KeyValueIterator<?, ? extends Number> entries(KafkaStreams streams) {
        if (window != null) {
            return window.entries(streams);
        }
        return streams.store(StoreQueryParameters.fromNameAndType(
                        STORE, QueryableStoreTypes.<String, Number>keyValueStore()))
                .all();
    }

    /** The windows in which records are counted. All of them are kept for longer than the records span. */
    private record Window(boolean isSession, Duration length, Duration outOfOrder) {
        private static final Duration KEPT = Duration.ofDays(30);

        static Window of(JsonNode benchmark) {
            if (!benchmark.has("window")) {
                return null;
            }
            return new Window(
                    benchmark.get("window").asText().equals("session"),
                    Duration.ofMillis(benchmark.get("length").asLong()),
                    Duration.ofMillis(benchmark.get("out_of_order").asLong()));
        }

        void count(KGroupedStream<String, byte[]> grouped) {
            if (isSession) {
                grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(length, outOfOrder))
                        .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>as(STORE)
                                .withRetention(KEPT));
            } else {
                grouped.windowedBy(TimeWindows.ofSizeAndGrace(length, outOfOrder))
                        .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as(STORE)
                                .withRetention(KEPT));
            }
        }

        KeyValueIterator<?, Long> entries(KafkaStreams streams) {
            if (isSession) {
                return streams.store(StoreQueryParameters.fromNameAndType(
                                STORE, QueryableStoreTypes.<String, Long>sessionStore()))
                        .fetch(null, null);
            }
            return streams.store(StoreQueryParameters.fromNameAndType(
                            STORE, QueryableStoreTypes.<String, Long>windowStore()))
                    .all();
        }
    }

    /** The records that the group's offsets cover, in a topic that begins at offset 0 and has one record an offset. */
    private static long committed(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values().stream()
                .mapToLong(offset -> offset == null ? 0 : offset.offset())
                .sum();
    }

    private static double amount(ObjectReader reader, byte[] value) {
        try {
            Order order = reader.readValue(value);
            return order.amount;
        } catch (IOException malformed) {
            throw new UncheckedIOException(malformed);
        }
    }

    private static double now() {
        return System.currentTimeMillis() / 1e3;
    }

    /** Ends the process, whatever its threads do; the type is that of a handler of Kafka Streams. */
    private static StreamThreadExceptionResponse fail(Throwable cause) {
        cause.printStackTrace();
        Runtime.getRuntime().halt(1);
        return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    }

    /** The only field that is read of an order. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Order {
        public double amount;
    }

    /** Passes records on, takes the time of the first, and asks for a commit at the last. */
    private final class Watch extends ContextualFixedKeyProcessor<String, byte[], byte[]> {
        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            if (seen == 0) {
                first = now();
            }
            context().forward(record);
            if (++seen == records) {
                context().commit();
                reached.countDown();
            }
        }
    }
}
