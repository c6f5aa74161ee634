#!/usr/bin/env python3
"""Makes the effect table of gcloud from the command tree that the Google Cloud SDK ships for its completion.

Run:  python3 grammar/tools/gcloud.py SDK_FOLDER > grammar/effects/gcloud.toml

SDK_FOLDER is the installed SDK's root (the folder that holds `VERSION` and `data/cli/gcloud_completions.py`).
It reads files alone: gcloud is not run. The output is the same for the same SDK.
An effect comes from the first word of a verb (FIRST; of the group above where the last word is a kind, as in `sql export csv`),
then from the rules (RULES) in order. A verb that neither decides ends the run with an error: decide it and add it.
"""
import os
import re
import sys
from fnmatch import fnmatchcase

LETTERS = {"o": "observe", "c": "create", "m": "change", "d": "destroy", "p": "publish", "k": "credential", "x": "execute", "h": "host"}
ORDER = ["observe", "create", "change", "destroy", "publish", "credential", "execute", "host", "here"]

FIRST = {}
for effects, words in {
    "o": "list describe get lookup search query explain read tail log logs stream validate verify check analyze detect print view cat ls du hash"
         " history status info version help cheat feedback survey show fetch diagnose inspect monitor count find compare simulate test estimate"
         " recognize classify browse open wait preview generate retrieve bug proxy stat evaluate lint annotate metrics download ssl-info routes"
         " group troubleshoot query-activity scan diff is env display policy report resolve local pull dump trace replay config measure"
         " summarize operations url",
    "oc": "export",
    "c": "create insert copy clone upload submit register snapshot save add-version write fork generate-report subscribe mint issue book request"
         " provision post instantiate allocate new backup add-job init initialize capture record",
    "cm": "import load upsert put restore build package compile convert prepare instant",
    "m": "update set add enable patch edit apply attach start resume restart reboot rename move upgrade migrate tag untag label annotate-x commit"
         " approve acknowledge activate associate authorize accept connect configure link modify mark mutate mute pause promote perform"
         " publish refresh reload replace reschedule resize resync retry reset reject rotate schedule send seek suspend swap switch sync"
         " transfer undelete undeprecate unset unsuspend unmute enroll expand extend advance assign bulk change clear complete continue"
         " decline define delegate deny allow dismiss drain-x ack enforce ensure exempt exit fail-x finalize flush force"
         " graduate grow ignore increase install-x invalidate invite join lock merge model notify override pin cancel poll"
         " quarantine reassign rebalance reclaim reconcile recover recreate redeliver redirect reimage reimport release remediate renew reopen"
         " repair reserve respond reverse review rewrite shift signal split stop submit-x subscribe-x toggle trigger truncate-x unlock unmanage"
         " unpin unquarantine upgrade-x use verify-x withdraw backfill begin-x bind cleanup create-x deprecate describe-x manage fix lift relocate"
         " optimize rollout establish begin end crash establish-peering select track modify-ack-deadline skip replicate reconfigure stop-x run-x hold",
    "md": "disable deactivate failover switchover rollback detach disassociate unlink unenroll unregister unbind disconnect undeploy stop-replication"
          " revert abort inject abandon ungroup evict drain leave reset-x",
    "d": "delete remove destroy drop purge terminate revoke uninstall rm deregister truncate expire unschedule",
    "x": "run execute call invoke predict ssh scp train exec raw direct chat ask",
    "cmx": "deploy",
    "k": "login logout encrypt decrypt sign asymmetric mac raw-x decapsulate",
}.items():
    for w in words.split():
        if not w.endswith("-x"):
            assert w not in FIRST, w
            FIRST[w] = effects

SECRET_WORD = re.compile(r"(^|[ -])(iam|iam-policy|secrets?|keys?|password|passwords|credentials?|certificates?|certs?|tokens?|users?|kms|ssh-keys|os-login|service-accounts?"
                         r"|roles?|permissions?|access-levels|privateca|certificate-manager|identity|iap|hmac|members?|rbac|auth|admins?|trusts?|api-keys|ldaps-settings|saml|oidc"
                         r"|org-policies|org-policy|access-context-manager|pam|policies-x|workload-identity-pools|workforce-pools|access-approval|binauthz|login-config|macsec|credential-sets"
                         r"|ssl-certificates|ssl-certs|admin|principal-access-boundary-policies|role-bindings|rbacrolebindings|app-operator-binding|cas|ca-pools|jwt|oauth-clients|entitlements|superuser|admin-password|default-service-account)($|[ -])")
SECRET_NOT = re.compile(r"recaptcha keys (list|describe)|keys undelete|db-users-x|network-interface|partition|apis-x|resource-policies|routers|user-licenses|hsm-x|user-events|members? list|key-visualizer|interconnects.*(members)")

# pattern of the path without its track, effects. `+x` adds (only to what changes something), `-x` takes away, plain letters replace.
RULES = """
* $secret +k
*iam-policy* $set-iam-policy mk
* $get-iam-policy o
* $add-iam-policy-binding mk
* $remove-iam-policy-binding mk
* $get-credentials mk
* get-ancestors-iam-policy* o
# login and local configuration
auth login|auth revoke|auth activate-service-account|auth application-default *|auth configure-docker|auth print-*|auth enterprise-certificate-config * k
auth list o
auth application-default set-quota-project mk
init mk
config set|config unset|config configurations activate|config configurations rename m
config configurations create c
config configurations delete m
config configurations list|config configurations describe|config get*|config list|config virtualenv describe|config paths* o
anthos auth *|anthos create-login-config k
components install|components update|components remove|components reinstall|components restore|components repositories add|components repositories remove h
components list|components repositories list|components copy-bundled-python o
docker kxcp
emulators * start x
emulators * env-init o
topic *|info|cheat-sheet|feedback|survey|help|version|meta * o
interactive x
# compute
compute instances create|compute instances create-with-container|compute instances bulk create|compute instances bulk-create cx
compute instances set-*|compute instances update* m
compute instances set-service-account|compute instances set-iam-policy mk
compute instances add-metadata|compute instances remove-metadata|compute project-info add-metadata|compute project-info remove-metadata mkx
compute instances stop|compute instances suspend|compute instances reset|compute instances detach-disk md
compute instances delete-access-config md
compute instances send-diagnostic-interrupt|compute instances simulate-maintenance-event|compute instances report-host-as-faulty md
compute instances get-serial-port-output|compute instances tail-serial-port-output|compute instances get-* o
compute instances ops-agents policies create|compute instances ops-agents policies update|compute os-config patch-jobs execute|compute os-config patch-deployments create|compute os-config os-policy-assignments create|compute os-config os-policy-assignments update cmx
compute instance-groups managed create-instance|compute instance-groups managed resize|compute instance-groups managed rolling-action start-update m
compute instance-groups managed recreate-instances|compute instance-groups managed stop-instances|compute instance-groups managed suspend-instances|compute instance-groups managed abandon-instances|compute instance-groups managed rolling-action replace|compute instance-groups managed rolling-action restart md
compute instance-groups managed delete-instances|compute instance-groups managed delete d
compute ssh|compute scp|compute copy-files|compute tpus tpu-vm ssh|compute tpus tpu-vm scp|compute tpus queued-resources ssh|compute tpus queued-resources scp kx
compute connect-to-serial-port|compute start-iap-tunnel kx
compute tpus execution-groups create cx
compute config-ssh mk
compute reset-windows-password mk
compute sign-url|compute *-signed-url-key k
compute *add-signed-url-key mk
compute *delete-signed-url-key dk
compute disks create|compute snapshots create c
compute images import|compute instances import|compute images export|compute machine-images import cx
compute diagnose export-logs mk
compute url-maps invalidate-cdn-cache m
compute os-login describe-profile|compute os-login ssh-keys list|compute os-login ssh-keys describe o
compute target-pools remove-*|compute instance-groups unmanaged remove-instances md
compute security-policies rules create|compute firewall-policies rules create c
compute firewall-rules migrate o
compute shared-vpc * mk
compute shared-vpc list*|compute shared-vpc get* o
compute networks vpc-access * m
compute routers remove-* md
compute packet-mirrorings create|compute packet-mirrorings update +k
# storage
storage buckets list|storage objects list|storage cat|storage ls|storage hash|storage du|storage diagnose o
storage sign-url k
storage hmac create ck
storage hmac update mk
storage hmac delete dk
storage hmac list|storage hmac describe o
storage service-agent mk
storage cp|storage rsync ocm
storage mv ocmd
storage rm d
storage objects compose cm
storage objects update|storage buckets update mpk
storage batch-operations jobs create cmdk
storage buckets anywhere-caches pause|storage buckets anywhere-caches disable m
transfer jobs create|transfer jobs run|transfer jobs update cmd
transfer authorize mk
transfer agents install cxh
transfer agents delete d
transfer appliances * m
transfer appliances list|transfer appliances describe|transfer appliances*get* o
# secrets, keys, identity
secrets versions access k
secrets versions describe|secrets versions list|secrets describe|secrets list|secrets locations * o
secrets get-iam-policy o
secrets create|secrets versions add ck
secrets delete|secrets versions destroy dk
secrets versions disable mdk
secrets replication get o
secrets replication * mk
secrets replication get o
kms decrypt|kms encrypt|kms asymmetric-*|kms mac-*|kms raw-*|kms decapsulate k
kms mac-verify o
kms keys versions destroy dk
kms keys versions disable mdk
kms keys versions get-public-key|kms keys versions get-certificate-chain|kms inventory *|kms import-jobs describe|kms import-jobs list|kms ekm-config describe|kms *list|kms *describe o
kms keys versions import ck
iam service-accounts sign-* k
iam service-accounts keys get-public-key|iam list-*|iam simulator *|iam policies lint-condition|iam policies get|iam policies list o
iam service-accounts disable mdk
iam workload-identity-pools create-cred-config|iam workforce-pools create-cred-config|iam workforce-pools create-login-config k
iam simulator * o
policy-intelligence *|policy-troubleshoot *|iam *list|iam *describe o
services api-keys get-key-string|services api-keys lookup k
services api-keys create ck
services enable m
services disable md
services vpc-peerings connect m
services peered-dns-domains create c
services identity create ck
redis instances get-auth-string|memcache*get-auth-string k
domains registrations authorization-code get|developer-connect *fetch-read*token|oracle-database *generate-wallet k
domains registrations authorization-code reset mk
domains registrations register|domains registrations transfer c
domains registrations delete d
domains registrations search-domains|domains registrations get-* o
recaptcha keys * cm
recaptcha keys list|recaptcha keys describe|recaptcha *list* o
recaptcha keys delete d
recaptcha keys migrate|recaptcha keys update m
privateca *revoke mdk
privateca *export|privateca *get-csr o
organizations *|resource-manager org-policies list|resource-manager org-policies describe =
org-policies reset|org-policies delete|org-policies delete-custom-constraint|resource-manager org-policies delete dk
resource-manager org-policies disable-enforce mdk
resource-manager org-policies allow|resource-manager org-policies deny|resource-manager org-policies enable-enforce|resource-manager org-policies set-policy mk
resource-manager liens delete dk
access-approval requests * mk
access-approval requests list|access-approval requests get|access-approval *get o
iap tcp *|iap settings set|iap web enable mk
iap web disable mdk
iap settings get|iap *list|iap *describe|iap *get-iam-policy o
projects delete d
projects undelete m
projects get-* o
beta projects* =
billing projects unlink|billing accounts projects unlink md
# containers, builds, serverless
container clusters create|container clusters create-auto c
container clusters delete d
container clusters resize|container clusters upgrade md
container node-pools rollback md
container images add-tag m
container images untag|container images delete d
container binauthz * mk
container binauthz *list|container binauthz *describe|container binauthz policy evaluate|container binauthz policy export|container binauthz *get* o
container binauthz attestations create|container binauthz attestors create ck
container fleet memberships generate-gateway-rbac|container hub memberships generate-gateway-rbac mk
container fleet memberships get-credentials|container hub memberships get-credentials mk
container fleet memberships support-access *|container hub memberships support-access * mk
container fleet memberships support-access get-yaml|container hub memberships support-access get-yaml|container *support-access describe o
container *generate-install-manifest|container *get-server-config|container *get-server-info o
artifacts print-settings * k
artifacts docker upgrade migrate|artifacts docker upgrade print-iam-policy m
artifacts files download|artifacts *download o
artifacts *upload c
artifacts generic upload c
artifacts sbom load c
artifacts sbom export oc
artifacts docker images scan o
artifacts tags create c
artifacts yum import|artifacts apt import c
builds submit cx
builds triggers run cx
builds triggers create *|builds triggers update *|builds triggers import cmx
builds triggers delete d
builds cancel m
builds log|builds get-default-service-account o
builds worker-pools apply cm
run deploy|run services replace|run compose up cmx
run services update|run jobs update|run worker-pools update|run worker-pools replace|run jobs replace mx
run jobs execute x
run jobs create|run jobs deploy cx
run services update-traffic md
run services proxy k
run services add-iam-policy-binding mk
run worker-pools update-instance-split m
run domain-mappings create cp
functions deploy cmx
functions call x
functions local * x
functions logs read o
functions add-invoker-policy-binding|functions remove-invoker-policy-binding mk
functions event-types list o
functions detach|functions *upgrade* m
app deploy cmx
app browse|app open-console|app logs *|app regions *|app * browse o
app instances ssh|app instances scp kx
app instances enable-debug mk
app instances disable-debug m
app services set-traffic md
app versions stop md
app versions migrate md
app migrate* m
app gen-* o
app runtimes list o
app create c
app firewall-rules test-ip o
app update m
app ssl-certificates create ck
app domain-mappings create cp
workflows run|workflows execute cx
workflows deploy cm
workflows executions cancel m
eventarc *publish* mx
scheduler jobs run x
scheduler jobs pause md
tasks run x
tasks create-* c
tasks queues purge d
batch jobs submit cx
composer environments run|composer environments storage * import x
composer environments storage * delete d
composer environments storage * export|composer environments storage * list o
composer environments storage * import cmx
composer environments snapshots load cmdx
composer environments *failover md
composer environments restart-web-server m
dataproc jobs submit *|dataproc batches submit *|dataproc workflow-templates instantiate*|dataproc workflow-templates run*|dataproc sessions create * cx
dataproc workflow-templates add-job * m
dataproc jobs kill md
dataproc jobs wait|dataproc batches wait|dataproc clusters diagnose o
dataproc clusters gke create|dataproc clusters create cx
dataproc clusters stop md
dataproc clusters get-* o
dataproc autoscaling-policies import|dataproc workflow-templates import cm
dataflow flex-template build c
dataflow flex-template run|dataflow jobs run|dataflow sql query|dataflow yaml run cx
dataflow jobs drain|dataflow jobs archive m
dataflow jobs show o
dataflow snapshots create c
ai-platform local *|ai custom-jobs local-run x
ai-platform jobs submit * cx
ai-platform predict|ai endpoints *predict|ai endpoints explain x
ai-platform explain x
ai custom-jobs create|ai hp-tuning-jobs create|ai persistent-resources create cx
ai endpoints deploy-model|ai index-endpoints deploy-index|ai index-endpoints mutate-deployed-index m
ai endpoints undeploy-model|ai index-endpoints undeploy-index md
ai model-garden models deploy cm
ai-platform jobs stream-logs o
ai-platform versions set-default m
ml *|ml-engine * o
ml-engine *create*|ml-engine *submit* cx
ml-engine *delete* d
ml-engine *predict*|ml-engine *local* x
ml-engine *set*|ml-engine *update*|ml-engine *cancel*|ml-engine *add-iam*|ml-engine *remove-iam* mk
ml speech recognize-long-running o
ml vision product-search * cm
ml vision product-search *list*|ml vision product-search *describe*|ml vision product-search *search* o
ml vision product-search *delete* d
ml video * o
dlp *inspect*|dlp text * o
# data
sql connect|alloydb connect|spanner cli mkx
sql generate-login-token|sql *get-login-token k
sql users set-password-policy|sql users set-password|sql users assign-roles|sql users set-roles mk
sql import * cmd
sql export * oc
sql instances delete|sql databases delete d
sql instances restart m
sql instances failover|sql instances switchover|sql instances promote-replica|sql instances reset-ssl-config|sql instances restore-backup|sql backups restore md
sql instances reset-ssl-config mdk
sql instances clone c
sql instances patch mp
sql instances get-latest-recovery-time o
sql backups create c
sql reschedule-maintenance m
sql ssl *rotate*|sql ssl *rollback*|sql ssl *create* mk
sql ssl-certs *|sql ssl client-certs create ck
sql ssl *delete|sql ssl-certs delete dk
sql ssl *list|sql ssl *describe|sql ssl-certs list|sql ssl-certs describe o
sql tiers list|sql flags list o
alloydb instances inject-fault|alloydb instances failover|alloydb clusters switchover md
alloydb clusters restore c
alloydb clusters import cmd
alloydb clusters export oc
alloydb clusters promote m
spanner databases execute-sql ocmd
spanner databases ddl update cmd
spanner databases ddl describe|spanner databases sessions list|spanner databases query o
spanner databases sessions delete d
spanner migrate * cm
spanner samples * c
spanner databases restore c
spanner rows insert c
spanner rows update m
spanner rows delete d
spanner instances get-locations o
bq tables insert c
bq tables show-rows|bq * list|bq * describe|bq jobs * o
bq * copy c
bigtable tables undelete m
bigtable instances tables restore c
bigtable backups copy c
firestore bulk-delete|firestore databases delete d
firestore import|firestore databases restore cm
firestore export oc
firestore user-creds * k
firestore user-creds list|firestore user-creds describe o
firestore user-creds reset-password|firestore user-creds enable mk
datastore import cm
datastore export oc
datastore indexes cleanup d
datastore operations * o
datastore operations cancel|datastore operations delete m
healthcare *deidentify cm
healthcare *import* cm
healthcare *export* oc
healthcare *list|healthcare *describe|healthcare *evaluate*|healthcare nlp * o
healthcare *delete d
pubsub topics publish|pubsub lite-topics publish m
pubsub subscriptions pull|pubsub lite-subscriptions subscribe|pubsub lite-subscriptions pull om
pubsub subscriptions ack|pubsub subscriptions modify-* m
pubsub subscriptions seek|pubsub snapshots delete md
pubsub topics detach-subscription md
redis instances export oc
redis instances import cmd
redis instances failover md
redis clusters reschedule-maintenance m
memcache instances apply-parameters m
database-migration migration-jobs promote|database-migration migration-jobs stop|database-migration migration-jobs demote-destination md
database-migration migration-jobs generate-ssh-script k
database-migration conversion-workspaces * m
database-migration conversion-workspaces describe*|database-migration conversion-workspaces list*|database-migration conversion-workspaces get* o
database-migration conversion-workspaces create|database-migration conversion-workspaces seed c
database-migration conversion-workspaces delete d
looker instances export oc
looker instances import cmd
netapp volumes revert md
filestore instances revert|filestore instances restore md
lustre instances export-data oc
lustre instances import-data cm
metastore services export gcs|metastore services export oc
metastore services import *|metastore services restore cmd
metastore services query-metadata o
metastore services alter-*|metastore services move-* m
backup-dr backups restore * c
backup-dr backup-plan-associations trigger-backup c
# logs, monitoring, security
logging write c
logging read|logging tail|logging copy o
logging copy c
logging sinks delete|logging logs delete|logging buckets delete d
logging sinks update|logging settings update|logging buckets update md
logging sinks create +k
logging links create c
monitoring snoozes cancel m
monitoring policies migrate cm
scc findings *update*|scc *mute*|scc *set-* m
scc manage services update|scc settings *disable*|scc *custom-modules*update m
scc settings services disable|scc settings disable|scc *disable* md
scc findings export-to-bigquery|scc bqexports create c
scc *list*|scc *describe*|scc *get*|scc *group*|scc *validate*|scc *simulate*|scc *test* o
asset export|asset bigquery* oc
asset feeds create c
asset *analyze-iam-policy-longrunning oc
recommender *mark-* m
error-reporting events delete d
error-reporting events report c
trace sinks create +k
network-management connectivity-tests rerun m
network-management *rerun* m
network-connectivity *accept*|network-connectivity *reject* m
dns record-sets transaction * o
dns record-sets transaction execute cmd
dns record-sets import cmd
dns record-sets export|dns record-sets list|dns record-sets describe o
dns managed-zones delete d
dns dns-keys * o
# infrastructure
infra-manager deployments apply cmdkx
infra-manager deployments delete d
infra-manager deployments lock|infra-manager deployments unlock m
infra-manager deployments export-*|infra-manager revisions export* ok
infra-manager previews create ox
infra-manager previews export* o
infra-manager deployments *statefile* k
infra-manager deployments import-statefile mk
infra-manager terraform* o
deployment-manager deployments create ck
deployment-manager deployments update|deployment-manager deployments cancel-preview cmdk
deployment-manager deployments stop m
deployment-manager manifests *|deployment-manager resources * o
deploy releases create cmx
deploy releases promote|deploy rollouts approve|deploy rollouts advance|deploy rollouts retry-job|deploy targets redeploy cmx
deploy targets rollback mdx
deploy rollouts ignore-job|deploy rollouts cancel|deploy rollouts reject m
deploy apply cm
deploy job-runs terminate md
deploy releases abandon m
deploy *export o
anthos config controller create c
anthos config controller delete d
anthos config controller get-config-connector-identity|anthos config controller list|anthos config controller describe o
anthos config operations * o
anthos config controller get-credentials mk
anthos apply|anthos create* cm
anthos export|anthos *describe|anthos *list o
cloud-shell ssh|cloud-shell scp kx
cloud-shell get-mount-command k
workstations ssh|workstations start-tcp-tunnel kx
workstations start|workstations stop|workstations create =
workstations stop md
firebase test android run|firebase test ios run|firebase test *run cx
firebase test *models*|firebase test *versions*|firebase test *locales*|firebase test *list* o
notebooks instances diagnose o
notebooks instances rollback|notebooks instances reset|notebooks instances stop md
notebooks instances get-* o
workbench instances restore|workbench instances rollback md
bms instances reset|bms instances stop|bms instances reimage md
bms instances auth-info k
bms instances enable-*|bms instances disable-* m
bms volumes restore|bms volumes snapshots restore md
vmware *credentials describe|vmware *describe-credentials k
vmware private-clouds nsx credentials*|vmware private-clouds vcenter credentials* k
apigee deployments describe|apigee apis deploy|apigee archives deploy cmx
apigee deployments describe o
apigee applications * o
api-gateway gateways create|endpoints services deploy cmp
endpoints services check-iam-policy|endpoints *list|endpoints *describe o
endpoints services undelete m
source repos clone o
source project-configs update mk
essential-contacts compute o
colab executions create|colab runtimes create|colab schedules create cx
immersive-stream xr * m
immersive-stream xr *list|immersive-stream xr *describe o
immersive-stream xr *delete d
immersive-stream xr *create|immersive-stream xr contents build c
genomics pipelines run|lifesciences pipelines run|genomics operations* cx
genomics operations*|lifesciences operations* m
genomics *list|genomics *describe|lifesciences *describe|lifesciences *list|lifesciences *wait o
quotas preferences create c
quotas * =
survey|info o
terraform vet o
active-directory domains reset-admin-password mk
assured workloads enable-* m
assured workloads *violations acknowledge m
audit-manager audit-reports generate|audit-manager audit-scopes generate c
pam grants * mk
pam grants create ck
pam *list|pam *describe|pam *search|pam *check-onboarding-status o
pam *export oc
iam *export|*export-iam* o
storage intelligence-configs disable md
preview init mk
compute instance-groups managed create-instance c
compute shared-vpc *list*|compute networks vpc-access *list|compute networks vpc-access *describe|transfer appliances *list|transfer appliances *describe o
healthcare *get-iam-policy|healthcare *list|healthcare *describe o
iap tcp *create|compute networks vpc-access *create|transfer appliances *create|scc muteconfigs create c
iap tcp *create ck
compute networks vpc-access *delete|iap tcp *delete d
iap tcp *delete dk
container binauthz policy create*|container binauthz policy import mk
container binauthz create-signature-payload o
ml speech recognizers create|ml speech recognizers run-batch c
ml speech recognizers update m
ml speech recognizers delete d
spanner samples list|spanner samples backends o
artifacts go auth k
code clean-up|code dev x
compute advice *|dns active-peering-zones*|datastream connection-profiles discover|firestore databases connection-string|runtime-config configs variables watch|workspace-add-ons deployments install-status|dlp images redact o
compute os-config os-upgrade mdx
data-catalog entries star|data-catalog entries unstar|recaptcha firewall-policies reorder|scc settings services inherit|tasks lease|workspace-add-ons deployments install m
dataplex lakes deauthorize mk
domains registrations initiate-push-transfer mdk
media|mps|network-management o
parametermanager parameters versions render k
scc postures extract oc
scc remediation-intents auto-remediate cmd
sql instances acquire-ssrs-lease mk
sql instances reencrypt mk
tasks buffer c
vmware dns-bind-permission grant mk
""".strip().splitlines()

S3 = """storage cp|rsync * gs://*|s3://* = cm
storage cp|rsync gs://*|s3://* * = h
storage cp gs://*|s3://* - = o
storage cp|rsync gs://*|s3://* gs://*|s3://* = cm
storage cp|rsync * gs://* --predefined-acl=public*|authenticatedRead = cmp
storage cp|rsync gs://* gs://* --predefined-acl=public*|authenticatedRead = cmp
storage rsync --delete-unmatched-destination-objects = ocmd
storage rsync * gs://*|s3://* --delete-unmatched-destination-objects = cmd
storage rsync gs://*|s3://* gs://*|s3://* --delete-unmatched-destination-objects = cmd
storage rsync * gs://*|s3://* --delete-unmatched-destination-objects --dry-run = o
storage rsync gs://*|s3://* gs://*|s3://* --delete-unmatched-destination-objects --dry-run = o
storage rsync * gs://*|s3://* --dry-run = o
storage rsync gs://*|s3://* gs://*|s3://* --dry-run = o
storage rsync --dry-run = o
storage rsync --delete-unmatched-destination-objects --dry-run = o
storage mv * gs://*|s3://* = cm
storage mv gs://*|s3://* * = od
storage mv gs://*|s3://* gs://*|s3://* = cmd""".splitlines()

EXTRA = """help = o
--help = o
$ --version = o
version = o
run deploy --allow-unauthenticated = cmxpk
functions deploy --allow-unauthenticated = cmxpk
run services update --allow-unauthenticated = mxpk
compute firewall-rules create --source-ranges=*0.0.0.0/0*|*::/0* = cp
compute firewall-rules update --source-ranges=*0.0.0.0/0*|*::/0* = mp
pubsub subscriptions pull --auto-ack = omd
config get *secret*|*token*|*password* = k""".splitlines()

PUBLIC = "--member=allUsers|allAuthenticatedUsers"

VALUES = ["--access-token-file", "--account", "--billing-project", "--configuration", "--flags-file", "--flatten", "--format", "--impersonate-service-account",
          "--project", "--trace-token", "--verbosity", "--zone", "--region", "--location", "--cluster", "--instance", "--organization", "--folder",
          "--member", "--source-ranges", "--predefined-acl", "--role", "--filter", "--limit", "--sort-by"]
FLAGS = ["-q --quiet", "--no-quiet", "-h --help", "-v --version", "--log-http", "--no-log-http", "--user-output-enabled", "--no-user-output-enabled", "--dry-run", "--no-dry-run",
         "--validate-only", "--no-validate-only", "--allow-unauthenticated", "--no-allow-unauthenticated", "--auto-ack", "--delete-unmatched-destination-objects",
         "-r -R --recursive", "--async", "--global", "--internal-ip", "--preview"]

EXAMPLES = """
gcloud compute instances list --project prod-1 | observe | project=prod-1
gcloud --project=prod-1 -q compute instances delete web-1 --zone europe-west1-b | destroy | project=prod-1 zone=europe-west1-b
gcloud beta compute instances delete web-1 | destroy
gcloud alpha compute instances describe web-1 | observe
gcloud compute --account me@example.org instances stop web-1 | change destroy | account=me@example.org
gcloud compute instances create web-2 --machine-type e2-small | create execute
gcloud compute ssh web-1 --zone z -- sudo reboot | credential execute | zone=z
gcloud compute scp f web-1:/tmp --internal-ip | credential execute
gcloud compute start-iap-tunnel web-1 22 | credential execute
gcloud compute reset-windows-password win-1 | change credential
gcloud compute firewall-rules create open --allow tcp:22 --source-ranges 0.0.0.0/0 | create publish
gcloud compute firewall-rules create inner --allow tcp:22 --source-ranges=10.0.0.0/8 | create
gcloud compute instances add-metadata web-1 --metadata-from-file ssh-keys=k | change credential execute
gcloud projects delete prod-1 | destroy
gcloud projects add-iam-policy-binding p --member user:a@example.org --role roles/owner | change credential
gcloud projects get-iam-policy p | observe
gcloud storage buckets add-iam-policy-binding gs://b --member=allUsers --role=roles/storage.objectViewer | change publish credential
gcloud run services add-iam-policy-binding s --member allUsers --role roles/run.invoker | change publish credential
gcloud storage cp a.txt gs://b/ | create change
gcloud storage cp -r gs://b/dir . | observe
gcloud storage rsync -r dist gs://b --delete-unmatched-destination-objects | create change destroy
gcloud storage rsync -r dist gs://b --dry-run | observe
gcloud storage rm -r gs://b/** | destroy
gcloud storage cat gs://b/k | observe
gcloud storage sign-url gs://b/k | credential
gcloud secrets versions access latest --secret db | credential
gcloud secrets list | observe
gcloud developer-connect connections git-repository-links fetch-read-token l | credential
gcloud secrets delete db | destroy credential
gcloud kms decrypt --key k --ciphertext-file c --plaintext-file p | credential
gcloud kms keys versions destroy 1 --key k | destroy credential
gcloud iam service-accounts keys create key.json --iam-account sa@p.iam.gserviceaccount.com | create credential
gcloud iam roles list | observe
gcloud auth print-access-token | credential
gcloud auth login --no-launch-browser | credential
gcloud auth application-default login | credential
gcloud auth list | observe
gcloud config set project prod-1 | change
gcloud config list | observe
gcloud config configurations activate prod | change
gcloud container clusters get-credentials c --region r | change credential | region=r
gcloud container clusters delete c --quiet | destroy
gcloud run deploy web --source . --allow-unauthenticated | create change publish credential execute
gcloud beta run deploy web --image i --allow-unauthenticated | create change publish credential execute
gcloud run deploy web --image i --no-allow-unauthenticated | create change execute
gcloud run jobs execute nightly | execute
gcloud functions call f --data {} | execute
gcloud functions deploy f --runtime python312 | create change execute
gcloud builds submit --tag gcr.io/p/i | create execute
gcloud builds list | observe
gcloud app deploy | create change execute
gcloud sql instances delete db | destroy
gcloud sql connect db --user root | change credential execute
gcloud sql import sql db gs://b/dump.sql | create change destroy
gcloud sql export sql db gs://b/dump.sql | observe create
gcloud dns record-sets transaction execute --zone z | create change destroy
gcloud dns record-sets list --zone z | observe
gcloud pubsub topics publish t --message m | change
gcloud pubsub subscriptions pull s --auto-ack | observe change destroy
gcloud logging read severity=ERROR --limit 10 | observe
gcloud logging sinks delete s | destroy
gcloud services disable compute.googleapis.com | change destroy
gcloud components update | host
gcloud components install kubectl | host
gcloud -q components remove kubectl | host
gcloud infra-manager deployments apply d | create change destroy credential execute
gcloud dataproc jobs submit pyspark x.py --cluster c | create execute
gcloud spanner databases execute-sql d --instance i --sql x | observe create change destroy
gcloud compute frobnicate x | unknown
gcloud --help | observe
gcloud compute --help | observe
gcloud --version | observe
CLOUDSDK_CORE_PROJECT=p2 gcloud compute disks list | observe | project=p2
""".strip().splitlines()


def walk(node, path, out):
    if node["commands"]:
        for name in sorted(node["commands"]):
            walk(node["commands"][name], path + (name,), out)
    else:
        out[path] = node["flags"]


def parse_rules():
    out = []
    for line in RULES:
        if not line.startswith("#"):
            pattern, _, effects = line.rpartition(" ")
            out.append((pattern, effects))
    return out


def decide(path, rules, used, undecided):
    text = " ".join(path)
    got = None
    for word in reversed(path):
        first = word.split("-")[0]
        if word in FIRST or first in FIRST:
            got = set(FIRST.get(word, FIRST.get(first)))
            break
    for i, (pattern, effects) in enumerate(rules):
        if pattern == "* $secret":
            if got and got != {"o"} and got != {"o", "c"} and SECRET_WORD.search(text) and not SECRET_NOT.search(text):
                got.add("k")
            continue
        if "$" in pattern:
            if path[-1] != pattern.split("$")[1]:
                continue
        elif not any(fnmatchcase(text, p) for p in pattern.split("|")):
            continue
        used.add(i)
        if effects == "=":
            continue
        if effects[0] == "+":
            if got and got != {"o"}:
                got |= set(effects[1:])
        else:
            got = set(effects)
    if not got:
        undecided.append(text)
        got = {"o"}
    return frozenset(got)


def quote(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    sdk = sys.argv[1]
    sys.path.insert(0, os.path.join(sdk, "data", "cli"))
    sys.dont_write_bytecode = True
    from gcloud_completions import STATIC_COMPLETION_CLI_TREE as tree
    version = open(os.path.join(sdk, "VERSION")).read().strip()
    leaves = {}
    walk(tree, (), leaves)
    rules, used, undecided = parse_rules(), set(), []
    tracks = {"": {}, "alpha|beta|preview ": {}}
    dry = {}
    for path, flags in leaves.items():
        track = "" if path[0] not in ("alpha", "beta") else "alpha|beta|preview "
        bare = path if not track else path[1:]
        if not bare:
            continue
        tracks[track][bare] = decide(bare, rules, used, undecided)
        for f in ("--dry-run", "--validate-only"):
            if flags.get(f) == "bool":
                dry.setdefault((track, bare), set()).add(f)
    if undecided:
        raise SystemExit("not decided:\n  " + "\n  ".join(sorted(set(undecided))))
    for i, (pattern, effects) in enumerate(rules):
        if i not in used and "$" not in pattern and not effects.startswith("="):
            print("rule fits no verb:", pattern, effects, file=sys.stderr)
    rows = {e: [] for e in ORDER}

    def add(letters, pattern):
        for letter in letters:
            rows[LETTERS[letter]].append(pattern)

    for line in EXTRA + S3:
        pattern, _, letters = line.rpartition(" = ")
        add(letters, pattern)
        if pattern.split()[0] not in ("help", "version", "--help", "$"):
            add(letters, "alpha|beta|preview " + pattern)
    # What is in a general track and in a preview one with other verbs stands in both; `parent groups verbs` is written as one row for each effect,
    # where the groups below a parent agree what a verb does.
    for track, table in tracks.items():
        for pattern, letters in factor(table):
            add(letters, track + pattern)
        public = {p: frozenset("mpk") for p in table if p[-1] == "add-iam-policy-binding"}
        for pattern, letters in factor(public):
            add(letters, track + pattern + " " + PUBLIC)
        for flag in ("--dry-run", "--validate-only"):
            some = {p: frozenset("o") for p in table if flag in dry.get((track, p), ()) and table[p] != {"o"}}
            for pattern, letters in factor(some, exact=True):
                add(letters, f"{track}{pattern} {flag} !--no-{flag[2:]}")
    print(len(leaves), "verbs", {t or "ga": len(x) for t, x in tracks.items()}, file=sys.stderr)
    write(rows, version)


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
    out = ['name = "gcloud"', "aliases = []", 'system = "gcp"', f'source = "Google Cloud SDK {version}, the command tree that it ships; effects by hand"',
           'script = "grammar/tools/gcloud.py"', "",
           "values = [" + ", ".join(map(quote, VALUES)) + "]", "optional = []", "flags = [" + ", ".join(map(quote, FLAGS)) + "]", "",
           "[scope]", 'project = ["--project", "$CLOUDSDK_CORE_PROJECT"]', 'account = ["--account", "$CLOUDSDK_CORE_ACCOUNT"]',
           'region = ["--region", "--location", "$CLOUDSDK_COMPUTE_REGION"]', 'zone = ["--zone", "$CLOUDSDK_COMPUTE_ZONE"]',
           'configuration = ["--configuration", "$CLOUDSDK_ACTIVE_CONFIG_NAME"]', 'cluster = ["--cluster"]', "", "[verbs]"]
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
