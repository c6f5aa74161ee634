#!/usr/bin/env python3
"""Makes the effect table of the Azure command line from azure-cli's own command table.

Run:  pip install azure-cli
      python3 grammar/tools/az.py > grammar/effects/az.toml

It loads the commands of the core modules (no extensions), without credentials and network. The output is the same for the same version.
An effect comes from the first word of a verb (FIRST; of the group above where the last word is a kind, as in `connection create sql`),
then from the rules (RULES) in order. A verb that neither decides ends the run with an error: decide it and add it.
"""
import os
import re
import sys
import tempfile
from fnmatch import fnmatchcase

LETTERS = {"o": "observe", "c": "create", "m": "change", "d": "destroy", "p": "publish", "k": "credential", "x": "execute", "h": "host"}
ORDER = ["observe", "create", "change", "destroy", "publish", "credential", "execute", "host", "here"]

FIRST = {}
for effects, words in {
    "o": "list show wait get exists check validate download query preview what stats logs browse status retrieve test url version lint format"
         " decompile evaluate spot feedback find fetch summarize survey self search log tail info result outbound available list_by_score peek"
         " random stream usage assess calculate operation-list detect",
    "oc": "export",
    "c": "create upload generate backup copy snapshot clone capture submit insert push publish register subscribe",
    "cm": "import restore build georestore geo up put append upsert_scope create_or_update initiate prepare populate",
    "m": "update set add assign start enable cancel approve reject migrate clear upgrade reset restart renew recover rotate resize sync activate undelete"
         " auto complete scale resume accept attach lock unlock reconcile bind apply swap promote change refresh perform convert scale re commit configure use"
         " move configure setup reschedule pool finalize revalidate link acquire tag untag standby archive send connect initialize reconfigure resync"
         " repo admin proxy reactivate bulk provision on off unset join cutover authorize trigger claim manual peer reestablish splitclonefromparent"
         " transitiontocmk relocate patch rename reconnect file rewrite extend replace merge close edit open generalize reapply simulate redeploy"
         " regenerate verify install ping onboard revive invite recycle reimport mount unmount schedule rebuild deployment network functions credentials volumes force",
    "md": "stop disable deallocate failover failback fail detach revert rollback break deactivate unregister disconnect unlink unbind abort release pause suspend operation"
          " reimage hibernate offline offboard unauthorize flush unsubscribe reboot",
    "d": "delete remove purge terminate delete_scope uninstall",
    "x": "run exec invoke execute ssh rerun",
    "cmx": "deploy",
    "k": "login logout grant revoke encrypt decrypt sign init rest",
}.items():
    for w in words.split():
        FIRST.setdefault(w, effects)

# Verbs that change something in these groups, or with these words: credential too.
SECRET_WORD = re.compile(r"(^|[ -])(ad|role|keyvault|identity|keys?|credentials?|secrets?|tokens?|passwords?|sas|policy-x|authorization-rule|local-user|users?|admin|ad-admin"
                         r"|ad-only-auth|certificates?|ssl|ssh|access-policy|access-restriction-x|auth|aad|msi|managed-identity|permission|pim|sp|encryption|tde-key|tde|login|invite"
                         r"|service-principal|federated-credential|shared-key|connection-string|connection|admin-key|query-key|client-secret|private-endpoint-connection|delegation-keys|cmk"
                         r"|lock|grant-access|revoke-access|rotate-certs|rbac|trusted-access|admin-consent|bypass|auth-settings-x|openid-connect-provider|identity-provider|appsettings)($|[ -])")
SECRET_NOT = re.compile(r"^(network (vpn-connection|connection-x)|storage (blob|container) lease|monitor|appconfig (kv|feature)|vm (disk|unmanaged-disk)|network watcher)|policy-insights")
# Getters that show secrets.
SHOWN = re.compile(r"(list|show|get)-(keys?|credentials?|secrets?|shared-keys|auth-keys?|connection-strings?|access-token|admin-kubeconfig|publishing[a-z-]*|configuration-x)$"
                   r"|(^| )(keys?|admin-key|query-key|shared-key|secrets?|credentials?|connection-string|appsettings|access-keys?|connectionstring) (list|show|show-values|list-values)$|get-access-token|kubeconfig|publishing-(profiles|credentials)")
SHOWN_NOT = re.compile(r"^keyvault (key|secret list|secret list)|^keyvault .*deleted|keyvault secret list|^sql (db|mi|server)|^(mysql|postgres|mariadb) |ad (app|sp) credential list|^disk-encryption|^vm secret|sql .*key (list|show)|synapse .*key (list|show)|encryption"
                       r"|^sshkey|federated-credential|workspace key (list|show)|tde-key|cosmosdb .*role|^capacity|^containerapp secret list|^ad ")

RULES = """
# login, local configuration, this machine
login|logout|account clear|account get-access-token|acr login|batch account login k
account set m
account show|account list* o
cloud register|cloud set|cloud update|cloud unregister m
config set|config unset|configure|cache purge|cache delete|config param-persist *|local-context * m
config get|config param-persist show|cache list|cache show|local-context show|cloud list*|cloud show o
extension add|extension remove|extension update|upgrade h
extension list*|extension show o
bicep install|bicep upgrade|bicep uninstall h
bicep build*|bicep decompile*|bicep format|bicep generate-params|bicep lint|bicep list-versions|bicep restore|bicep version|bicep run|bicep snapshot o
bicep publish c
aks install-cli|acr helm install-cli|aks install-desktop|functionapp *install-cli h
self-test o
find|survey|feedback o
# credentials
aks get-credentials mk
aro get-admin-kubeconfig|aro list-credentials k
ad sp create-for-rbac ck
ad *list*|ad *show|ad *check|ad *get-member-groups|ad signed-in-user * o
keyvault secret show|keyvault secret download|keyvault secret backup|keyvault key backup|keyvault key download|keyvault certificate backup|keyvault certificate download k
keyvault secret set ck
keyvault secret delete|keyvault secret purge|keyvault key delete|keyvault key purge|keyvault delete|keyvault purge|keyvault certificate delete|keyvault certificate purge dk
keyvault *list*|keyvault show*|keyvault *show-deleted|keyvault key show|keyvault certificate show|keyvault *check-name|keyvault *wait o
keyvault key decrypt|keyvault key encrypt|keyvault key sign|keyvault key random k
keyvault security-domain download k
keyvault key verify o
acr credential show|acr token credential generate|acr *generate-credentials|acr connected-registry get-settings k
acr credential renew mk
storage *generate-sas|storage account keys list|storage account show-connection-string k
storage account local-user list-keys|storage account local-user regenerate-password k
storage account keys renew mk
storage account revoke-delegation-keys mdk
disk grant-access|snapshot grant-access k
disk revoke-access|snapshot revoke-access mdk
webapp deployment list-publishing-*|functionapp deployment list-publishing-*|webapp deployment user * k
webapp config connection-string list|webapp config appsettings list|functionapp config appsettings list|logicapp config appsettings list|staticwebapp appsettings list ok
webapp config storage-account list|functionapp config storage-account list|webapp auth show|webapp auth-classic show o
staticwebapp secrets list k
containerapp secret show k
containerapp secret list o
iot hub connection-string show|iot hub policy show|iot hub policy list|iot dps policy show|iot dps policy list|iot central *token show ok
apim nv show-secret k
apim nv list|apim nv show o
network vpn-connection shared-key * mk
network vpn-connection shared-key show k
network vpn-connection show|network vpn-connection list o
network *vpn-client generate|network *vpn-client show-url|network vnet-gateway vpn-client * k
network express-route auth show|network express-route auth list k
synapse integration-runtime list-auth-key|synapse integration-runtime regenerate-auth-key k
monitor log-analytics workspace get-shared-keys k
bot show|bot directline show|bot *show ok
connection *list-configuration|webapp connection list-configuration|functionapp connection list-configuration|containerapp connection list-configuration|aks connection list-configuration k
* connection *list-configuration|connection list-configuration k
connection *generate-configuration o
redis *regenerate-keys|redis list-keys k
redis access-policy* mk
redis access-policy* list|redis access-policy*list|redis access-policy* show o
eventgrid *key list|eventgrid *key regenerate k
appconfig credential list k
appconfig kv *|appconfig feature * m
appconfig kv list|appconfig kv show|appconfig feature list|appconfig feature show|appconfig feature filter list|appconfig feature filter show|appconfig kv export o
appconfig kv export oc
appconfig kv import cmd
appconfig kv delete|appconfig feature delete|appconfig feature filter delete d
appconfig kv set|appconfig kv set-keyvault|appconfig feature set cm
appconfig kv restore md
lab vm *rdp*|lab secret * k
lab secret list|lab secret show k
vm user *|vm reset-*|vmss *user* mk
vm user delete dk
vm secret add|vm secret remove mk
vm secret list|vm secret format o
databoxedge device scan-for-update o
role assignment delete|role definition delete dk
role assignment create|role definition create ck
role assignment list*|role definition list|role definition show|role deny-assignment list|role deny-assignment show o
policy assignment delete|policy exemption create|policy exemption delete|policy definition delete|policy set-definition delete dk
policy assignment create|policy definition create|policy set-definition create|policy *update mk
policy state trigger-scan m
lock delete|account lock delete|group lock delete|resource lock delete|account management-group * mk
lock delete|*lock delete dk
*lock list|*lock show o
account management-group delete dk
account management-group *list|account management-group *show*|account management-group *get|account management-group *check* o
security *delete|security *disable d
security alert update m
security pricing create mk
# execute
vm run-command invoke|vmss run-command invoke|vm run-command create|vmss run-command create|vm run-command update|vmss run-command update x
aks command invoke x
container exec|container attach|containerapp exec|webapp ssh|webapp create-remote-connection|functionapp *ssh x
appservice plan managed-instance instance connect x
vm create|vmss create|container create|batch pool create|batch task create|batch job create|vmss scale cx
vmss scale m
vm extension set|vmss extension set|vm application set|vmss application set cmx
vm extension delete|vmss extension delete d
vm stop|vm deallocate|vm reimage|vmss stop|vmss deallocate|vmss reimage|vm redeploy|vm simulate-eviction|vmss simulate-eviction|vm hibernate md
vm restart|vm start|vmss restart|vm disk attach m
vm generalize md
vm capture c
vm assess-patches|vm *list* o
vm install-patches mx
vm open-port mp
vm host restart m
image builder run|image builder create cx
acr build|acr pack build|acr run|acr task run|acr task create cx
acr taskrun * o
acr taskrun delete d
acr import c
acr repository untag|acr manifest delete|acr repository delete d
acr repository update|acr repository show* m
acr repository show* o
acr helm push|acr helm delete c
acr helm delete d
acr helm repo add mk
acr config *  m
acr *show|acr *list* o
acr credential show k
acr update mp
acr manifest restore m
acr webhook ping m
acr webhook get-config k
acr connected-registry install * mk
acr check-* o
acr replication update m
containerapp up|webapp up|webapp deploy|functionapp deploy|functionapp deployment source config-zip|webapp deployment source config-zip|staticwebapp create cmxp
containerapp job start|containerapp job create cx
containerapp create cxp
containerapp update|containerapp revision copy|containerapp job update mx
containerapp ingress enable mp
containerapp ingress disable md
containerapp compose create cx
containerapp logs show|containerapp job logs show|containerapp show-custom-domain-verification-id|containerapp *list-* o
functionapp deployment source *|webapp deployment source * mx
functionapp deployment source show|webapp deployment source show|webapp deployment *list|webapp deployment *show o
functionapp deployment source delete|webapp deployment source delete d
functionapp deployment container config|webapp deployment container config mk
functionapp deployment container show-cd-url|webapp deployment container show-cd-url k
functionapp deployment user *|webapp deployment user set mk
functionapp deployment user show|webapp deployment user show o
functionapp create|webapp create|logicapp create cp
webapp webjob continuous start|webapp webjob triggered run x
webapp *log tail|webapp log *|webapp sitecontainers log o
webapp log config m
webapp deployment slot swap|functionapp deployment slot swap md
webapp troubleshoot *|functionapp troubleshoot * o
webapp troubleshoot collect * oc
logicapp deployment source * mx
hdinsight script-action execute x
synapse spark statement *|synapse spark job submit|synapse pipeline create-run cx
synapse spark *show|synapse spark *list o
synapse spark *cancel|synapse spark job cancel m
synapse trigger-run rerun|synapse pipeline-run * x
synapse pipeline-run query-by-workspace|synapse pipeline-run show|synapse activity-run *|synapse trigger-run query* o
synapse pipeline-run cancel m
batchai *node exec|batchai *exec x
managed-cassandra cluster invoke-command x
resource invoke-action mkx
deployment *create|stack *create|ts create cmdk
deployment create cmdk
deployment operation *|deployment *operation * o
deployment-scripts delete|deployment-scripts list|deployment-scripts show =
deployment *delete m
deployment *what-if*|deployment *validate|deployment *export|deployment *wait|deployment *list|deployment *show o
deployment *cancel m
stack *delete d
stack *validate|stack *export|stack *list|stack *show o
stack sub create|stack group create|stack mg create cmdk
ts create c
ts export o
group create c
group delete d
group export o
group exists o
group wait o
resource create c
resource delete d
resource move|group move m
resource patch|resource update m
feature register|feature unregister|provider register m
provider unregister md
provider operation * o
# data
storage blob upload*|storage file upload*|storage fs file upload|storage fs directory upload|storage azcopy blob upload cm
storage blob download*|storage file download*|storage fs *download|storage azcopy blob download h
storage blob query|storage blob show|storage blob url o
storage blob sync|storage azcopy blob sync cmd
storage copy cm
storage remove d
storage blob copy *|storage file copy * cm
storage blob copy cancel|storage file copy cancel m
storage blob delete*|storage azcopy blob delete d
storage container set-permission mpk
storage account update mp
storage container create c
storage container immutability-policy *|storage container legal-hold * mk
storage container immutability-policy show|storage container legal-hold show o
storage message get om
storage message peek o
storage message clear d
storage message delete d
storage entity insert c
storage entity query|storage entity show o
storage account hns-migration * m
storage account migration show o
storage blob service-properties *update|storage cors * m
storage cors clear d
storage cors list o
storage container policy *|storage queue policy *|storage table policy *|storage share policy * mk
storage *policy list|storage *policy show o
storage fs access * mk
storage fs access show o
storage account network-rule add|storage account network-rule remove mk
storage logging off md
storage blob restore|storage *undelete* m
storage blob set-tier m
storage blob lease break|storage container lease break md
storage share-rm restore m
storage file rename|storage fs *move m
dls fs access * mk
dls fs access show o
dls fs delete|dls fs remove-expiry d
dls fs remove-expiry m
dls fs append|dls fs join|dls fs move|dls fs upload cm
dls fs show|dls fs list|dls fs preview|dls fs test|dls fs download o
cosmosdb keys list k
cosmosdb list-keys|cosmosdb list-read-only-keys|cosmosdb list-connection-strings k
cosmosdb failover-priority-change|cosmosdb offline-region md
cosmosdb *retrieve-latest-backup-time o
cosmosdb *restore cm
cosmosdb sql role *|cosmosdb mongodb role *|cosmosdb mongodb user *|cosmosdb *role *|cosmosdb postgres role * mk
cosmosdb *role *list|cosmosdb *role *show|cosmosdb *role *exists|cosmosdb *user *show|cosmosdb *user *list|cosmosdb *user *exists o
cosmosdb *role *delete|cosmosdb *user *delete dk
sql db import|sql midb restore|sql midb log-replay * cmk
sql db export|sql db copy oc
sql midb *show|sql midb *list o
sql midb log-replay stop md
sql db restore|sql db ltr-backup restore|sql mi create c
sql db threat-policy update|sql db audit-policy update|sql server audit-policy update|sql mi *audit* mdk
sql server firewall-rule create|sql server firewall-rule update mp
mysql *import create|mysql flexible-server import * cm
mysql *firewall-rule create|postgres *firewall-rule create|mysql *firewall-rule update|postgres *firewall-rule update|mariadb *firewall-rule create mp
mysql *deploy run|postgres *deploy run x
mysql *deploy setup|postgres *deploy setup mk
backup protection disable|backup vault delete|backup protection auto-disable* d
backup restore * cm
backup restore files * o
backup recoverypoint move m
backup protection backup-now c
backup *list*|backup *show* o
redis flush d
redis import cmd
redis export oc
redis force-reboot md
servicebus *keys list|eventhubs *keys list|relay *keys list|notification-hub *list-keys k
servicebus *exists|eventhubs *exists o
maps account keys list|cognitiveservices account keys list|batch account keys list|search admin-key show|search query-key list|signalr key list|webpubsub key show k
signalr key renew|webpubsub key regenerate mk
batch node user * mk
batch node user delete dk
batch *download|batch *list|batch *show|batch pool autoscale evaluate o
batch node reboot|batch node reimage md
batch job stop|batch job disable|batch task stop m
monitor diagnostic-settings delete|monitor log-profiles delete|monitor activity-log alert delete|monitor action-group delete d
monitor clone c
network nsg rule create|network nsg rule update cm
network dns zone import|network private-dns zone import cmd
network dns zone export|network private-dns zone export o
network dns record-set *|network private-dns record-set * m
network dns record-set *list|network dns record-set *show|network private-dns record-set *list|network private-dns record-set *show o
network dns record-set *create|network private-dns record-set *create c
network dns record-set *delete|network private-dns record-set *delete|network dns record-set *remove-record|network private-dns record-set *remove-record d
network watcher *list|network watcher show-*|network watcher test-*|network watcher *show|network watcher *query|network watcher *query-status o
network *generate-loa o
network watcher run-configuration-diagnostic o
network watcher packet-capture create|network watcher troubleshooting start c
network watcher troubleshooting show o
managedapp * =
iot hub manual-failover md
iot hub delete d
iot hub message-enrichment * m
iot hub message-enrichment list o
iot dps certificate generate-verification-code|iot hub certificate generate-verification-code mk
iot hub route test o
aks stop|aks nodepool stop|aks operation-abort|aks nodepool operation-abort md
aks rotate-certs|aks update-credentials mdk
aks oidc-issuer rotate-signing-keys mk
aks browse|aks check-* o
aks connection create * ck
aks use-dev-spaces mx
aks remove-dev-spaces d
connection create *|webapp connection create *|functionapp connection create *|containerapp connection create *|spring connection create * ck
connection update *|webapp connection update *|functionapp connection update *|containerapp connection update *|aks connection update * mk
connection list|connection show|* connection list|* connection show|*connection list-support-types|*connection validate|*connection wait|connection preview-configuration* o
network vpn-connection shared-key show|batch account keys list k
network vnet-gateway vpn-client show-health|network vnet-gateway vpn-client ipsec-policy show|synapse sql pool show-connection-string o
bicep run oc
config param-persist delete|cache delete|deployment *delete m
redis access-policy *delete|redis access-policy-assignment delete|storage *policy delete|synapse role assignment delete|synapse sql ad-admin delete|lab secret delete|*private-endpoint-connection delete|account management-group *delete dk
redis access-policy create|redis access-policy-assignment create|storage *policy create|synapse role assignment create|synapse sql ad-admin create|account management-group *create|batch node user create|cosmosdb *role *create|cosmosdb *user *create|policy *create ck
policy exemption create cdk
iot hub message-enrichment delete d
iot hub message-enrichment create c
*firewall-rule create cp
* connection list-configuration|connection list-configuration k
dms project task * m
dms project task create cx
dms project task show|dms project task list|dms *show|dms *list|dms check-name|dms list-skus o
dms project task delete d
consumption budget delete d
billing *list*|billing *show*|billing *download*|billing *validate* o
ams account sp create|ams account sp reset-credentials ck
ams streaming-locator get-content-keys|ams streaming-locator list-content-keys k
ams *stop|ams *reset md
sf cluster *remove* md
advisor recommendation disable m
capacity reservation group * =
vm availability-set convert* m
term accept|vm image accept-terms|vm image terms accept m
sig share * mpk
sig share wait o
vm image terms show|vm image list* o
eventgrid partner *authorize|eventgrid partner *unauthorize mk
ppg * =
*private-endpoint-connection approve|*private-endpoint-connection reject mk
*private-endpoint-connection list|*private-endpoint-connection show o
identity delete dk
synapse sql ad-admin *|synapse role assignment * mk
synapse sql ad-admin create|synapse role assignment create ck
synapse sql ad-admin delete|synapse role assignment delete|network private-endpoint-connection delete dk
synapse sql ad-admin show|synapse role assignment list|synapse role assignment show|synapse role definition *|synapse role scope * o
synapse *pause md
""".strip().splitlines()

EXTRA = """--help = o
$ --version = o
rest --method=get|GET|Get|head|HEAD = ok
rest !--method = ok
rest --method=post|POST|Post|put|PUT|Put|patch|PATCH|Patch = cmdkxp
rest --method=delete|DELETE|Delete = dk
rest = cmdkxp
deployment group|sub|mg|tenant create --what-if = o
storage container create --public-access=blob|container = cp
storage container set-permission --public-access=off = mk
storage blob upload-batch|delete-batch|download-batch --dryrun = o
containerapp secret list --show-values = k
bot directline show --with-secrets = k
storage account create|update --allow-blob-public-access=true|True = cmp""".splitlines()

VALUES = ["--subscription", "-g --resource-group", "-n --name", "-o --output", "--query", "-l --location", "-m --method", "--public-access", "--allow-blob-public-access", "--vault-name",
          "--account-name", "--workspace-name", "-u --uri --url", "-c --container-name", "-f --template-file", "-p --parameters"]
FLAGS = ["-h --help", "-y --yes", "--no-wait", "--verbose", "--debug", "--only-show-errors", "-w --what-if", "--dryrun", "--show-values", "--with-secrets", "-v --version"]

EXAMPLES = """
az group list -o table | observe
az group delete -n rg-prod --yes --no-wait | destroy
az group delete --name rg-prod --subscription prod -y | destroy | subscription=prod
az --subscription prod vm list -g rg1 | observe | subscription=prod resource-group=rg1
az vm create -g rg1 -n vm1 --image Ubuntu2204 | create execute | resource-group=rg1
az vm deallocate --ids x | change destroy
az vm restart -grg1 -n vm1 | change | resource-group=rg1
az vm delete -g rg1 -n vm1 --yes | destroy
az vm run-command invoke -g rg1 -n vm1 --command-id RunShellScript --scripts id | execute
az aks get-credentials -g rg1 -n c1 --admin | change credential
az aks command invoke -g rg1 -n c1 -c kubectl | execute
az aks delete -g rg1 -n c1 | destroy
az keyvault secret show --vault-name v -n db | credential
az keyvault secret list --vault-name v | observe
az keyvault secret set --vault-name v -n db --value x | create credential
az keyvault delete -n v | destroy credential
az account get-access-token | credential
az account set -s prod | change
az account show | observe
az login --use-device-code | credential
az ad sp create-for-rbac --role Owner | create credential
az role assignment create --assignee a --role Owner --scope / | create credential
az role assignment list | observe
az storage account keys list -g rg1 -n sa | credential
az storage container set-permission -n c --public-access blob | change publish credential
az storage container create -n c --public-access=container | create publish
az storage account update -n sa --allow-blob-public-access true | create change publish
az storage blob upload -f x -c c -n b | create change
az storage blob sync -c c -s ./dist | create change destroy
az storage blob delete-batch -s c | destroy
az storage blob delete-batch -s c --dryrun | observe
az storage blob generate-sas -c c -n b --permissions r | credential
az acr login -n reg | credential
az acr build -r reg -t app:1 . | create execute
az acr repository delete -n reg --repository app | destroy
az webapp config appsettings list -g rg1 -n w | observe credential
az webapp deployment list-publishing-profiles -g rg1 -n w | credential
az webapp up -n w | create change publish execute
az containerapp exec -g rg1 -n a --command sh | execute
az deployment group create -g rg1 --template-file main.bicep | create change destroy credential
az deployment group create -g rg1 -f main.bicep --what-if | observe
az deployment group what-if -g rg1 -f main.bicep | observe
az deployment sub validate -l westeurope -f main.bicep | observe
az sql db delete -g rg1 -s srv -n db --yes | destroy
az cosmosdb keys list -g rg1 -n c | credential
az lock delete -n l -g rg1 | destroy credential
az rest --method get --url https://management.azure.com/subscriptions | observe credential
az rest -m delete -u https://management.azure.com/x | destroy credential
az extension add -n aks-preview | host
az aks install-cli | host
az bicep install | host
az bicep build -f main.bicep | observe
az network nsg rule create -g rg1 --nsg-name n -n r --priority 100 | create change
az network dns record-set a list -g rg1 -z example.org | observe
az frobnicate list | unknown
az vm --help | observe
az --version | observe
""".strip().splitlines()


def inventory():
    os.environ["AZURE_CONFIG_DIR"] = tempfile.mkdtemp()
    os.environ["AZURE_CORE_COLLECT_TELEMETRY"] = "0"
    os.environ["AZURE_EXTENSION_DIR"] = os.path.join(os.environ["AZURE_CONFIG_DIR"], "none")
    from azure.cli.core import __version__, get_default_cli

    cli = get_default_cli()
    cli.invocation = cli.invocation_cls(cli_ctx=cli, parser_cls=cli.parser_cls, commands_loader_cls=cli.commands_loader_cls, help_cls=cli.help_cls)
    loader = cli.invocation.commands_loader
    loader.load_command_table(None)
    if not any(name.startswith("storage blob ") for name in loader.command_table):
        raise SystemExit("a module did not load")
    return __version__, sorted(tuple(name.split()) for name in loader.command_table)


def decide(path, rules, used, undecided):
    text = " ".join(path)
    got = None
    for word in reversed(path):
        first = word.split("-")[0]
        if word in FIRST or first in FIRST:
            got = set(FIRST.get(word, FIRST.get(first)))
            break
    if got == {"o"} and SHOWN.search(text) and not SHOWN_NOT.search(text):
        got = set("k")
    elif got and got != {"o"} and got != {"o", "c"} and SECRET_WORD.search(text) and not SECRET_NOT.search(text):
        got.add("k")
    for i, (pattern, effects) in enumerate(rules):
        if not any(fnmatchcase(text, p) for p in pattern.split("|")):
            continue
        used.add(i)
        if effects != "=":
            got = set(effects)
    if not got:
        undecided.append(text)
        got = {"o"}
    return frozenset(got)


def main():
    version, paths = inventory()
    rules, used, undecided = [], set(), []
    for line in RULES:
        if line and not line.startswith("#"):
            pattern, _, effects = line.rpartition(" ")
            rules.append((pattern.strip(), effects))
    skip = {"interactive", "rest"}  # the first stays unknown, the second has rows of its own
    table = {p: decide(p, rules, used, undecided) for p in paths if " ".join(p) not in skip}
    if undecided:
        raise SystemExit("not decided:\n  " + "\n  ".join(sorted(set(undecided))))
    for i, (pattern, effects) in enumerate(rules):
        if i not in used:
            print("rule fits no verb:", pattern, effects, file=sys.stderr)
    rows = {e: [] for e in ORDER}
    for line in EXTRA:
        pattern, _, letters = line.rpartition(" = ")
        for letter in letters:
            rows[LETTERS[letter]].append(pattern)
    for pattern, letter in factor(table):
        rows[LETTERS[letter]].append(pattern)
    print(len(paths), "verbs", file=sys.stderr)
    write(rows, version)


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def factor(table, exact=False):
    """Rows (pattern, letter) that give back the table."""
    parents = {}
    for path, effects in table.items():
        parents.setdefault((len(path), path[:-2]), {})[path] = effects
    out = []
    for (depth, parent), members in sorted(parents.items()):
        verbs = {}
        for path, effects in members.items():
            verbs.setdefault(path[-1], {}).setdefault(effects, set()).add(path[-2:-1])
        # (groups, letters) -> verbs
        groups_of = {}
        for verb, sets in verbs.items():
            for effects, groups in sets.items():
                if len(sets) == 1 and not exact:
                    key = ("*", effects)  # all groups below the parent agree
                else:
                    key = (tuple(sorted(groups)), effects)
                groups_of.setdefault(key, []).append((verb, groups))
        by_row = {}
        for (key, effects), items in groups_of.items():
            groups = sorted(set().union(*(g for _, g in items)))
            names = sorted(v for v, _ in items)
            for letter in effects:
                head = "|".join(g[0] for g in groups if g)
                by_row.setdefault((head, letter), set()).update(names)
        for (head, letter), names in sorted(by_row.items()):
            out.append((" ".join(x for x in (*parent, head, "|".join(sorted(names))) if x), letter))
    return out


def write(rows, version):
    out = ['name = "az"', "aliases = []", 'system = "azure"', f'source = "azure-cli {version}, its own command table (core modules, no extensions); effects by hand"',
           'script = "grammar/tools/az.py"', "",
           "values = [" + ", ".join(map(quote, VALUES)) + "]", "optional = []", "flags = [" + ", ".join(map(quote, FLAGS)) + "]", "",
           "[scope]", 'subscription = ["--subscription"]', 'resource-group = ["--resource-group", "$AZURE_DEFAULTS_GROUP"]', 'vault = ["--vault-name"]', "", "[verbs]"]
    for e in ORDER:
        out.append(f"{e} = [")
        out += ["  " + quote(r) + "," for r in rows[e]]
        out.append("]")
    for line in EXAMPLES:
        command, effects, *scope = [x.strip() for x in line.split(" | ")]
        out += ["", "[[example]]", "command = " + quote(command), "effects = [" + ", ".join(map(quote, effects.split())) + "]"]
        if scope:
            out.append("scope = { " + ", ".join(k + " = " + quote(v) for k, v in (x.split("=") for x in scope[0].split())) + " }")
    print("\n".join(out))


if __name__ == "__main__":
    main()
