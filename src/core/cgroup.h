/* What the control groups of Linux allow this process. */
#ifndef FUSEDLOSS_CGROUP_H
#define FUSEDLOSS_CGROUP_H

/* The CPUs' worth of time, rounded up; 0: no limit. */
int fl_cgroup_cpus(void);

/* The bytes of memory; 0: no limit. */
long long fl_cgroup_memory(void);

#endif
