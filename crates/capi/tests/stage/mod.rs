//! The library as it is installed, and C programs that are compiled against it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs};

/// What every program is compiled with: the C of the header, and all warnings.
pub(crate) const C99: &[&str] = &["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"];
/// The same with the sanitizers.
pub(crate) const SANITIZED: &[&str] =
    &["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// Where everything is: a folder in the build folder, or that of `RINGWARDEN_C_PROGRAMS`, for other machines.
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Installs the library; `None` without a C compiler and pkg-config, which `RINGWARDEN_REQUIRE_ALL` does not allow.
    pub(crate) fn find() -> Option<&'static Self> {
        static STAGE: OnceLock<Option<Stage>> = OnceLock::new();
        STAGE.get_or_init(Self::set).as_ref()
    }

    fn set() -> Option<Self> {
        for program in ["cc", "c++", "pkg-config"] {
            if let Err(error) = Command::new(program).arg("--version").output() {
                skip(&format!("{program}: {error}"));
                return None;
            }
        }
        // Test files are run one after the other, and each has its own.
        let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let folder = env::var_os("RINGWARDEN_C_PROGRAMS").map_or_else(own, PathBuf::from);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let mut install = Command::new(sources().join("install"));
        install.arg(archive()).arg(&folder).args([PREFIX, "lib"]);
        succeed(&mut install);
        Some(Self { folder })
    }

    /// The library's folder.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.below("lib")
    }

    /// A file or folder that is installed.
    pub(crate) fn below(&self, path: &str) -> PathBuf {
        self.folder.join(PREFIX.trim_start_matches('/')).join(path)
    }

    /// What pkg-config says, for the folder.
    pub(crate) fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("ringwarden");
        command.env("PKG_CONFIG_LIBDIR", self.libraries().join("pkgconfig"));
        command.env("PKG_CONFIG_SYSROOT_DIR", &self.folder);
        let said = String::from_utf8(succeed(&mut command).stdout).expect("UTF-8");
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// A program of that source, linked to the shared library, which it finds by itself.
    pub(crate) fn program(&self, source: &Path, flags: &[&str], name: &str) -> PathBuf {
        let path = format!("-Wl,-rpath,{}", self.libraries().display());
        let libraries: Vec<_> = self.pkg_config(&["--libs"]).into_iter().chain([path]).collect();
        self.compile(source, flags, name, &libraries)
    }

    /// The same with the library in it.
    pub(crate) fn static_program(&self, source: &Path, flags: &[&str], name: &str) -> PathBuf {
        let libraries = self.pkg_config(&["--static", "--libs"]).into_iter();
        let libraries: Vec<_> = libraries
            .map(|flag| if flag == "-lringwarden" { "-l:libringwarden.a".into() } else { flag })
            .collect();
        self.compile(source, flags, name, &libraries)
    }

    fn compile(&self, source: &Path, flags: &[&str], name: &str, libraries: &[String]) -> PathBuf {
        let programs = self.folder.join("programs");
        fs::create_dir_all(&programs).expect("a folder");
        let program = programs.join(name);
        let compiler = if source.extension().is_some_and(|kind| kind == "cc") { "c++" } else { "cc" };
        let mut command = Command::new(compiler);
        command.args(flags).args(self.pkg_config(&["--cflags"])).arg("-pthread").arg("-o").arg(&program);
        succeed(command.arg(source).args(libraries));
        program
    }

    /// A file with that text.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// A program in a folder of its own.
    pub(crate) fn run(&self, program: &Path) -> Command {
        let mut folder: OsString = program.into();
        folder.push(".files");
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new(program);
        command.current_dir(folder);
        command
    }
}

/// A prefix that no compiler looks at by itself.
const PREFIX: &str = "/opt/ringwarden";

/// The folder of the package.
pub(crate) fn sources() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// A C source of these tests.
pub(crate) fn source(name: &str) -> PathBuf {
    sources().join("tests/c").join(name)
}

/// The static library, which cargo builds beside this test. Of several, built with other features of dependencies, the
/// newest is made of the sources that there are: none that is older than a source was built for this test.
fn archive() -> PathBuf {
    let test = env::current_exe().expect("own path");
    let folder = test.parent().expect("a folder");
    let is_archive = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libringwarden_capi") && name.ends_with(".a")
    };
    let modified =
        |path: &Path| fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let files = fs::read_dir(folder).expect("the build folder").flatten().map(|entry| entry.path());
    files
        .filter(|path| is_archive(path))
        .max_by_key(|path| modified(path))
        .expect("cargo builds the static library")
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// Says what is not tested.
pub(crate) fn skip(reason: &str) {
    assert!(env::var_os("RINGWARDEN_REQUIRE_ALL").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}
