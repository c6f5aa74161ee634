"""Makes effects/terragrunt.toml from effects/terraform.toml: Terragrunt passes the verbs of Terraform on, alone and behind `run`, `run-all`, `graph` and `stack run`."""
import json, pathlib, sys, tomllib

data = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "effects")
base = tomllib.loads((data / "terraform.toml").read_text())
ORDER = ["observe", "here", "create", "change", "destroy", "publish", "credential", "execute", "host"]
# Behind `--` the options of Terraform are words like others.
MIGRATE = [f"{verb} init {'* ' * words}*force-copy*|*migrate-state*" for verb in ["run|run-all|graph", "stack run"] for words in range(4)]
OWN = {
    "observe": [
        "find|list|ls|hclvalidate|validate-inputs|render|terragrunt-info|graph-dependencies|output-module-groups|info|help-all",
        "hcl|dag|backend|stack|run|run-all|graph $", "hclfmt --check !--check=false", "hcl fmt|format --check !--check=false", "hcl validate", "dag graph", "info print|strict", "info strict list|ls", "plan-all|validate-all",
        "find|list|ls|catalog|scaffold|hclfmt|render|info --help", "hcl fmt|validate --help", "stack generate|clean|output|run --help", "backend bootstrap|delete|migrate --help", "run|run-all|graph --help $",
    ],
    "here": [
        "catalog|scaffold|hclfmt|render-json|aws-provider-patch", "hcl fmt|format", "stack generate|clean", "render --write", "render --out",
        *(f"{verb} {option}" for verb in ["plan", "plan-all", "run|run-all|graph plan", "stack run plan"] for option in ["--out-dir", "--json-out-dir", "--report-file"]),
        *(f"{verb} plan {'* ' * words}*out=*" for verb in ["run|run-all|graph", "stack run"] for words in range(4)),
    ],
    "create": [*MIGRATE, "apply-all|spin-up", "backend bootstrap|migrate", "plan|init|validate|output --backend-bootstrap !--backend-bootstrap=false", "run|run-all plan|init|validate|output --backend-bootstrap !--backend-bootstrap=false"],
    "change": [*MIGRATE, "apply-all|spin-up", "backend bootstrap|migrate", "exec"],
    "destroy": [*MIGRATE, "apply-all|spin-up|destroy-all|tear-down", "backend delete|migrate"],
    "credential": [
        "output-all", "stack output", "exec",
        *(f"{verb} show|plan|query {'* ' * words}*json|*json=t*|*show-sensitive*" for verb in ["run|run-all|graph", "stack run"] for words in range(4)),
    ],
    "execute": [
        "exec",
        *(f"{verb} {option}" for verb in [
            "plan-all|validate-all", "version|validate|modules|help|plan|query|providers", "run|run-all|graph version|validate|graph|modules|help|plan|query|providers", "stack run version|validate|graph|modules|help|plan|query|providers",
        ] for option in ["--tf-path", "--auth-provider-cmd"]),
    ],
}
VALUES = [
    "--working-dir --terragrunt-working-dir", "--config --terragrunt-config", "--terragrunt-source", "--source", "--source-map", "--terragrunt-source-map", "--terragrunt-include-dir", "--terragrunt-exclude-dir",
    "--queue-include-dir", "--queue-exclude-dir", "--queue-excludes-file", "--queue-include-units-reading", "--terragrunt-modules-that-include", "--units-that-include", "--terragrunt-parallelism", "--terragrunt-log-level", "--log-level", "--log-format",
    "--log-custom-format", "--terragrunt-iam-role", "--iam-assume-role", "--iam-assume-role-duration", "--iam-assume-role-session-name", "--iam-assume-role-web-identity-token", "--tf-path --terragrunt-tfpath", "--download-dir --terragrunt-download-dir",
    "--inputs-debug-file", "--experiment", "--strict-control", "--feature", "--out-dir", "--json-out-dir", "--report-file", "--report-format", "--report-schema-file", "--provider-cache-dir", "--terragrunt-override-attr", "--root-file-name", "--format", "--auth-provider-cmd",
]
FLAGS = [
    "--all", "--graph", "--non-interactive --terragrunt-non-interactive", "--terragrunt-no-auto-init", "--no-auto-init", "--no-auto-approve", "--no-auto-retry", "--terragrunt-ignore-dependency-errors", "--terragrunt-ignore-external-dependencies",
    "--terragrunt-include-external-dependencies", "--queue-ignore-errors", "--queue-ignore-dag-order", "--queue-include-external", "--queue-exclude-external", "--queue-strict-include", "--source-update --terragrunt-source-update", "--backend-bootstrap", "--backend-require-bootstrap", "--disable-bucket-update",
    "--inputs-debug", "--experiment-mode", "--strict-mode", "--provider-cache", "--tf-forward-stdout", "--log-disable", "--log-show-abs-paths", "--dependency-fetch-output-from-state", "--no-destroy-dependencies-check", "--in-download-dir", "--fail-on-state-bucket-creation", "--no-stack-generate",
]
used = {f for row in VALUES + FLAGS for f in row.split()}
values = VALUES + [r for r in base["values"] if not used & set(r.split())]
flags = FLAGS + [r for r in base["flags"] if not used & set(r.split())]

def spread(row):
    # `graph` is a verb of its own here.
    yield row.replace("|graph|", "|") if " " not in row else row
    if row.startswith(("$", "-")):
        return
    yield "run|run-all|graph " + row
    yield "stack run " + row

def block(rows):
    return "[\n" + "".join(f"    {json.dumps(r)},\n" for r in rows) + "]" if rows else "[]"

verbs = {}
for e in ORDER:
    rows = OWN.get(e, []) + [r for row in base["verbs"].get(e, []) for r in spread(row)]
    verbs[e] = rows

EXAMPLES = [
    ("terragrunt plan", ["observe"], {}), ("terragrunt run-all plan --terragrunt-working-dir envs/prod", ["observe"], {"directory": "envs/prod"}),
    ("terragrunt run --all -- plan -out=tfplan", [], {}), ("terragrunt run --all -- plan -lock=false -out=tfplan", [], {}), ("terragrunt run --all -- plan", ["observe"], {}), ("terragrunt plan -out=tfplan", [], {}), ("terragrunt hcl fmt", [], {}), ("terragrunt run -- show -json", ["credential"], {}), ("terragrunt run -- init -force-copy", ["create", "change", "destroy"], {}), ("terragrunt run --tf-path ./x plan", ["execute"], {}), ("terragrunt hcl fmt --check", ["observe"], {}), ("terragrunt stack generate", [], {}),
    ("terragrunt apply -auto-approve", ["create", "change", "destroy"], {}), ("terragrunt run --all --non-interactive apply", ["create", "change", "destroy"], {}),
    ("terragrunt --working-dir envs/prod run-all apply --terragrunt-non-interactive", ["create", "change", "destroy"], {"directory": "envs/prod"}), ("terragrunt stack run apply", ["create", "change", "destroy"], {}),
    ("terragrunt backend bootstrap --all", ["create", "change"], {}), ("terragrunt plan --backend-bootstrap", ["create"], {}),
    ("terragrunt import aws_s3_bucket.x x", ["change"], {}), ("terragrunt run-all destroy --terragrunt-non-interactive", ["destroy"], {}), ("terragrunt run --all -- destroy -auto-approve", ["destroy"], {}),
    ("terragrunt destroy-all", ["destroy"], {}), ("terragrunt backend delete --force", ["destroy"], {}), ("TF_WORKSPACE=prod terragrunt apply -destroy", ["destroy"], {"workspace": "prod"}),
    ("terragrunt state rm module.db", ["change", "destroy"], {}), ("terragrunt output -json", ["credential"], {}), ("terragrunt run-all output", ["observe"], {}), ("terragrunt output-all", ["credential"], {}),
    ("terragrunt run -- state pull", ["credential"], {}), ("terragrunt exec -- aws s3 rm s3://x", ["change", "credential", "execute"], {}), ("terragrunt exec --in-download-dir -- ./script.sh", ["change", "credential", "execute"], {}),
    ("terragrunt --log-level debug exec -- env", ["change", "credential", "execute"], {}), ("terragrunt apply -help", ["observe"], {}),
]
out = [
    'name = "terragrunt"', 'system = "terraform"', 'source = "table of Terraform and knowledge of Terragrunt 0.9x; the tool was not run, 2026-11-28"', 'script = "grammar/tools/terragrunt.py"', "single-dash = true", "",
    "values = " + block(values), "flags = " + block(flags), "", "[scope]", 'directory = ["--working-dir", "--chdir", "$TG_WORKING_DIR"]',
    'workspace = ["workspace|env select|new|delete @1", "run|run-all|graph workspace|env select|new|delete @1", "$TF_WORKSPACE"]', 'config = ["--config", "$TG_CONFIG"]', "", "[verbs]",
    "# Hooks of the configuration run programs on this machine with every verb. Older versions make a missing state bucket with `init` and `plan` too.",
]
out += [f"{e} = {block(verbs[e])}" for e in ORDER if verbs[e]]
for cmd, eff, scope in EXAMPLES:
    out += ["", "[[example]]", "command = " + json.dumps(cmd), "effects = " + json.dumps(eff)]
    if scope:
        out.append("scope = { " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in scope.items()) + " }")
(data / "terragrunt.toml").write_text("\n".join(out) + "\n")
