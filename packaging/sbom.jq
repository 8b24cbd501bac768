# A bill of materials (CycloneDX 1.5) of the program, from `cargo metadata`. Takes $tree, the lines of `cargo tree`; $lock, the
# text of Cargo.lock, for the checksums; $time; $rust and $libc, the versions of the standard library and of the C library
# that are linked in.
include "linked";

def purl: "pkg:cargo/\(.name)@\(.version)";
# Some old packages write MIT/Apache-2.0.
def licences: if .license then [{expression: (.license | gsub("\\s*/\\s*"; " OR "))}] else [] end;
def checksums:
  [$lock | scan("name = \"([^\"]+)\"\nversion = \"([^\"]+)\"\nsource = \"[^\"]+\"\nchecksum = \"([0-9a-f]{64})\"")]
  | map({key: "\(.[0])@\(.[1])", value: .[2]})
  | from_entries;
def described: if .description then {description: (.description | gsub("\\s+"; " ") | ltrimstr(" ") | rtrimstr(" "))} else {} end;
def sources: if .repository then {externalReferences: [{type: "vcs", url: .repository}]} else {} end;

. as $metadata
| checksums as $checksums
| linked($tree) as $packages
| ($packages | map({key: .id, value: purl}) | from_entries) as $purls
| (.resolve.nodes | map({key: .id, value: [.deps[].pkg | $purls[.] // empty]}) | from_entries) as $needs
| .resolve.root as $root
| [
    {type: "library", "bom-ref": "pkg:generic/rust-std@\($rust)", name: "rust-std", version: $rust,
     purl: "pkg:generic/rust-std@\($rust)", licenses: [{expression: "MIT OR Apache-2.0"}]},
    {type: "library", "bom-ref": "pkg:generic/glibc@\($libc)", name: "glibc", version: $libc,
     purl: "pkg:generic/glibc@\($libc)", licenses: [{expression: "LGPL-2.1-or-later"}]}
  ] as $runtime
| {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: $time,
      component: ($packages[] | select(.id == $root)
        | {type: "application", "bom-ref": purl, name, version, purl: purl, licenses: licences} + described + sources)
    },
    components: ([$packages[] | select(.id != $root)
      | {type: "library", "bom-ref": purl, name, version, purl: purl, licenses: licences}
        + ($checksums["\(.name)@\(.version)"] as $sum | if $sum then {hashes: [{alg: "SHA-256", content: $sum}]} else {} end)
        + described + sources] + $runtime),
    dependencies: ([$packages[]
      | {ref: purl,
         dependsOn: ($needs[.id] + (if .id == $root then [$runtime[]["bom-ref"]] else [] end) | unique)}]
      + [$runtime[] | {ref: .["bom-ref"], dependsOn: []}])
  }
