//! Builds again when a file is added to what is embedded.

fn main() {
    for folder in ["stacks", "scenarios", "manifests"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
