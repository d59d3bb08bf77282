# Filled in by launchd/packaging/release. For a tap: copy the file that it makes to Formula/stormtunnel.rb.
class Stormtunnel < Formula
  desc "AWS Session Manager tunnels that stay up"
  homepage "https://github.com/stormtunnel/stormtunnel"
  url "@URL@"
  sha256 "@SHA256@"
  license any_of: ["Apache-2.0", "MIT"]
  head "https://github.com/stormtunnel/stormtunnel.git", branch: "main"

  depends_on "rust" => :build

  def install
    # What --version says: an archive has no commit.
    ENV["STORMTUNNEL_COMMIT"] = "@COMMIT@" unless build.head?
    system "cargo", "install", *std_cargo_args(path: "daemon")
    system "cargo", "install", *std_cargo_args(path: "client-cli")
    generate_completions_from_executable(bin/"stctl", "completions", shells: [:bash, :zsh, :fish])
    system bin/"stctl", "man-pages", buildpath/"man1"
    (buildpath/"man1/stormtunneld.1").write Utils.safe_popen_read(bin/"stormtunneld", "--man-page")
    man1.install Dir["man1/*.1"]
  end

  # No `service` block: a service of Homebrew's would have neither the socket nor the user's places in it.
  def caveats
    <<~EOS
      Any stctl command starts the daemon when it is needed. To have the system start it at
      login and again after a crash, and after every upgrade:
        stctl daemon install
      Before you remove the formula:
        stctl daemon uninstall
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/stctl --version")
    assert_match version.to_s, shell_output("#{bin}/stormtunneld --version")
    assert_match "stctl", shell_output("#{bin}/stctl completions bash")
    ENV["STORMTUNNEL_SOCKET"] = testpath/"s.sock"
    assert_match "not running", shell_output("#{bin}/stctl daemon status 2>&1", 5)
  end
end
