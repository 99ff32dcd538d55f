//! Finds and compiles the `.proto` files inside the `envoy-types` crate.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::DescriptorPool;
use protox::prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto};

/// Where cargo unpacked a package, and which version it chose.
pub(crate) struct Package {
    pub(crate) root: PathBuf,
    pub(crate) version: String,
}

/// Asks cargo where the `envoy-types` that this build links is.
///
/// First without the network, since a build has already fetched what it compiles; the second try may fetch what a build
/// of one crate alone did not need.
pub(crate) fn locate_envoy_types() -> Package {
    let mut failures = Vec::new();
    for offline in [true, false] {
        let mut command = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]);
        command.arg(env::var_os("TARGET").expect("cargo sets TARGET"));
        command.current_dir(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
        if offline {
            command.arg("--offline");
        }
        let output = command.output().expect("cargo runs");
        if !output.status.success() {
            failures.push(String::from_utf8_lossy(&output.stderr).into_owned());
            continue;
        }
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let package = metadata["packages"]
            .as_array()
            .and_then(|packages| packages.iter().find(|package| package["name"] == "envoy-types"))
            .expect("envoy-types is a dependency");
        let text = |key: &str| {
            package[key]
                .as_str()
                .expect("cargo metadata names every package's files")
                .to_owned()
        };
        let manifest = PathBuf::from(text("manifest_path"));
        return Package {
            root: manifest.parent().expect("a manifest lies in a folder").to_owned(),
            version: text("version"),
        };
    }
    panic!("cargo metadata failed:\n{}", failures.join("\n"));
}

/// Compiles every `.proto` file of the package and those in `own`, an import root.
pub(crate) fn compile(package: &Package, own: &Path) -> DescriptorPool {
    let mut import_roots = vec![own.to_owned()];
    for repository in entries(&package.root.join("proto")) {
        // cel-spec keeps its files one level further down.
        let below = repository.join("proto");
        import_roots.push(if below.is_dir() { below } else { repository });
    }
    let sources = ProtoFiles::read(&import_roots);
    let names: Vec<String> = sources.files.keys().cloned().collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(sources);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    for name in names {
        compiler
            .open_file(&name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    compiler.descriptor_pool()
}

/// The parsed files by import path, with every type name made absolute.
///
/// protox looks a relative name up by its first component only, as `protoc` does, but within `envoy/extensions/**` it
/// takes `config` in `config.core.v3.DataSource` for a package below `envoy.extensions`. An absolute name leaves nothing
/// to look up.
struct ProtoFiles {
    files: BTreeMap<String, FileDescriptorProto>,
}

impl ProtoFiles {
    fn read(import_roots: &[PathBuf]) -> Self {
        let mut files = BTreeMap::new();
        for import_root in import_roots {
            let mut folders = vec![import_root.clone()];
            while let Some(folder) = folders.pop() {
                for path in entries(&folder) {
                    if path.is_dir() {
                        folders.push(path);
                    } else if path.extension().is_some_and(|extension| extension == "proto") {
                        let name = path.strip_prefix(import_root).expect("walked from there");
                        let name = name.to_str().expect("proto file names are ASCII").to_owned();
                        let source = fs::read_to_string(&path).expect("proto files are readable");
                        let file = File::from_source(&name, &source).unwrap_or_else(|error| panic!("{name}: {error}"));
                        files.insert(name, FileDescriptorProto::from(file));
                    }
                }
            }
        }
        let mut known = HashSet::new();
        for file in files.values() {
            for message in &file.message_type {
                collect_names(&mut known, file.package(), message);
            }
            for value in &file.enum_type {
                known.insert(format!("{}.{}", file.package(), value.name()));
            }
        }
        for file in files.values_mut() {
            let package = file.package().to_owned();
            for message in &mut file.message_type {
                absolutise_message(&known, &package, message);
            }
            for extension in &mut file.extension {
                absolutise(&known, &package, &mut extension.type_name);
            }
            for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
                absolutise(&known, &package, &mut method.input_type);
                absolutise(&known, &package, &mut method.output_type);
            }
        }
        Self { files }
    }
}

impl FileResolver for ProtoFiles {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        let name = path.to_str()?;
        self.files.contains_key(name).then(|| name.to_owned())
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.files.get(name) {
            Some(file) => Ok(File::from_file_descriptor_proto(file.clone())),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a folder that opened can be listed").path())
        .collect();
    entries.sort();
    entries
}

fn collect_names(known: &mut HashSet<String>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect_names(known, &name, nested);
    }
    for value in &message.enum_type {
        known.insert(format!("{name}.{}", value.name()));
    }
    known.insert(name);
}

fn absolutise_message(known: &HashSet<String>, scope: &str, message: &mut DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in &mut message.nested_type {
        absolutise_message(known, &name, nested);
    }
    for field in message.field.iter_mut().chain(&mut message.extension) {
        absolutise(known, &name, &mut field.type_name);
    }
}

/// The innermost scope in which the name exists wins. What is not found (google.protobuf, which protox brings) stays.
fn absolutise(known: &HashSet<String>, scope: &str, name: &mut Option<String>) {
    let Some(relative) = name
        .as_deref()
        .filter(|name| !name.is_empty() && !name.starts_with('.'))
    else {
        return;
    };
    let mut scope = scope;
    loop {
        let candidate = if scope.is_empty() {
            relative.to_owned()
        } else {
            format!("{scope}.{relative}")
        };
        if known.contains(&candidate) {
            *name = Some(format!(".{candidate}"));
            return;
        }
        match scope.rfind('.') {
            Some(dot) => scope = &scope[..dot],
            None if scope.is_empty() => return,
            None => scope = "",
        }
    }
}
