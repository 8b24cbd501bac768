# The packages that are linked into the program, of what `cargo metadata` tells. Takes $tree, the lines of `cargo tree`:
# metadata alone also has what only tests, build scripts and features of other platforms need.
def linked($tree):
  ([$tree | splits("\n") | sub(" \\(.*"; "")] | map({key: ., value: true}) | from_entries) as $names
  | .packages
  | map(select($names["\(.name) v\(.version)"]))
  | sort_by(.name, .version);
