import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Runs test classes by the JUnit platform and writes the report. The secret comes on standard input. */
public final class RunTests {
    private RunTests() {}

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e) out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        String secret = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).trim();
        LauncherDiscoveryRequestBuilder request = LauncherDiscoveryRequestBuilder.request();
        for (int i = 1; i < arguments.length; i++) {
            request.selectors(DiscoverySelectors.selectClass(arguments[i]));
        }
        List<String> failed = new ArrayList<>();
        int[] passed = {0};
        LauncherDiscoveryRequest built = request.build();
        Launcher launcher = LauncherFactory.create();
        launcher.execute(built, new TestExecutionListener() {
            @Override
            public void executionFinished(TestIdentifier test, TestExecutionResult result) {
                if (result.getStatus() != TestExecutionResult.Status.SUCCESSFUL) {
                    failed.add(quoted(test.getDisplayName() + ": " + result.getThrowable().orElse(null)));
                } else if (test.isTest()) {
                    passed[0]++;
                }
            }

            @Override
            public void executionSkipped(TestIdentifier test, String reason) {
                failed.add(quoted(test.getDisplayName() + ": skipped"));
            }
        });
        String report = "{\"secret\":" + quoted(secret) + ",\"passed\":" + passed[0]
                + ",\"failed\":[" + String.join(",", failed) + "]}";
        Files.write(Path.of(arguments[0]), report.getBytes(StandardCharsets.UTF_8));
        Runtime.getRuntime().halt(0);
    }
}
