"""The settings of the test cluster: two virtual nodes with two stand-ins for GPUs each."""

from __future__ import annotations

SLURM_CONF = """\
ClusterName=testing
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,default_queue_depth=2000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdTimeout=15
MessageTimeout=10
ReturnToService=2
SlurmdParameters=config_overrides
MaxArraySize=100
MaxJobCount=20000
MinJobAge=10
{accounting}
NodeName=node1 NodeHostname=localhost Port={ports[1]} CPUs=2 RealMemory=8000 Gres=gpu:2
NodeName=node2 NodeHostname=localhost Port={ports[2]} CPUs=2 RealMemory=8000 Gres=gpu:2
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 MaxTime=INFINITE State=UP
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[3]}
AccountingStorageTRES=gres/gpu
AccountingStoragePass={folder}/munge.sock"""
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
GRES_CONF = """\
NodeName=node1 Name=gpu File={folder}/gpu[0-1]
NodeName=node2 Name=gpu File={folder}/gpu[2-3]
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdPort={ports[3]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=testing
StorageLoc=slurm_acct_db
"""
