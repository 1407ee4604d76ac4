//! `cargo xtask report`: pages of `ringwarden report`, looked at in a browser.

mod browser;

use crate::guard;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use browser::Browser;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Look at pages of `ringwarden report` in Chromium: light and dark, wide and on a phone, and printed.
///
/// Fails where something is wider than its window or hard to read, a link leads nowhere, something was asked of the
/// network, or the browser complains. The pictures stay, to be looked at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program [default: one that is built]
    #[arg(long)]
    ringwarden: Option<PathBuf>,
    /// The browser
    #[arg(long, default_value = "chromium")]
    chromium: PathBuf,
    /// Where pages and pictures go
    #[arg(long, default_value = "target/report")]
    out: PathBuf,
}

/// Pages: a small policy, layers with what there was before, many layers, and many rules.
const PAGES: [(&str, &[&str]); 4] = [
    ("small", &["policies/private-services.toml"]),
    (
        "layers",
        &[
            "@container-default",
            "@net-client",
            "policies/private-services.toml",
            "--against",
            "@container-default,@net-server",
        ],
    ),
    (
        "presets",
        &[
            "@container-default",
            "@file-io",
            "@libuv",
            "@mariadb",
            "@net-client",
            "@net-server",
            "@postgres",
            "@qemu",
        ],
    ),
    ("many", &["xtask/src/report/many.toml", "--against", "policies/private-services.toml"]),
];

/// How a page is looked at.
struct View {
    name: &'static str,
    width: u32,
    height: u32,
    is_dark: bool,
}

const VIEWS: [View; 4] = [
    View { name: "light", width: 1280, height: 800, is_dark: false },
    View { name: "dark", width: 1280, height: 800, is_dark: true },
    View { name: "phone-light", width: 390, height: 844, is_dark: false },
    View { name: "phone-dark", width: 390, height: 844, is_dark: true },
];

/// What finds out what is wrong with a page as it is shown.
const LOOK: &str = include_str!("look.js");
/// The tallest picture that browsers make.
const TALLEST: f64 = 16_000.0;
/// Less than this is a page with nothing on it.
const FEWEST_BYTES: usize = 20_000;

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = guard::ringwarden(args.ringwarden.as_deref())?;
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let out = args.out.canonicalize()?;
    let mut browser = Browser::start(&args.chromium)?;
    let mut faults = Vec::new();
    for (name, arguments) in PAGES {
        let page = write(&program, name, arguments, &out)?;
        for view in &VIEWS {
            let found = look(&mut browser, &page, view, &out.join(format!("{name}-{}.png", view.name)))?;
            println!("{name}, {}: {}", view.name, if found.is_empty() { "good" } else { "not good" });
            faults.extend(found.into_iter().map(|fault| format!("{name}, {}: {fault}", view.name)));
        }
        print(&mut browser, &out.join(format!("{name}.pdf")))?;
    }
    println!("pictures are in {}", out.display());
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Writes a page, and says where it is.
fn write(program: &Path, name: &str, arguments: &[&str], out: &Path) -> Result<String> {
    let page = out.join(format!("{name}.html"));
    // Assertions and tests of these policies may fail, which is told by 1.
    let status = Command::new(program)
        .arg("report")
        .args(arguments)
        .arg("-o")
        .arg(&page)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()?;
    ensure!(matches!(status.code(), Some(0 | 1)), "ringwarden report: {status}");
    Ok(format!("file://{}", page.display()))
}

/// Takes a picture of a page, and says what is wrong with it.
fn look(browser: &mut Browser, page: &str, view: &View, picture: &Path) -> Result<Vec<String>> {
    let &View { width, height, is_dark, .. } = view;
    let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
    browser.ask("Emulation.setDeviceMetricsOverride", &screen)?;
    let scheme = if is_dark { "dark" } else { "light" };
    let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    browser.ask("Emulation.setEmulatedMedia", &media)?;
    browser.show(page)?;
    let found = browser.evaluate(LOOK)?;
    let mut faults: Vec<_> = found
        .as_array()
        .context("a list")?
        .iter()
        .map(|fault| fault.as_str().unwrap_or("?").to_owned())
        .collect();
    let metrics = browser.ask("Page.getLayoutMetrics", &json!({}))?;
    let tall = metrics["cssContentSize"]["height"].as_f64().context("a height")?.min(TALLEST);
    let clip = json!({ "x": 0, "y": 0, "width": width, "height": tall, "scale": 1 });
    let asked = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
    let bytes = save(&browser.ask("Page.captureScreenshot", &asked)?, picture)?;
    if bytes < FEWEST_BYTES {
        faults.push(format!("its picture has {bytes} bytes"));
    }
    faults.extend(browser.events().iter().filter_map(|event| complaint(event, page)));
    Ok(faults)
}

/// What an event says that is not to happen.
fn complaint(event: &Value, page: &str) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => Some(params.to_string()),
        "Log.entryAdded" => Some(params["entry"]["text"].to_string()),
        "Network.requestWillBeSent" if params["request"]["url"] != page => {
            Some(format!("it asks for {}", params["request"]["url"]))
        }
        _ => None,
    }
}

/// Prints what is shown.
fn print(browser: &mut Browser, file: &Path) -> Result<()> {
    let bytes = save(&browser.ask("Page.printToPDF", &json!({ "preferCSSPageSize": true }))?, file)?;
    ensure!(bytes > FEWEST_BYTES, "{} has {bytes} bytes", file.display());
    Ok(())
}

/// Writes what the browser has made, and says how much it is.
fn save(made: &Value, file: &Path) -> Result<usize> {
    let bytes = STANDARD.decode(made["data"].as_str().context("no data")?)?;
    fs::write(file, &bytes)?;
    Ok(bytes.len())
}
