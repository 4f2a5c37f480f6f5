/* pool_threads: the threads of a pool, a struct pool_keeper and a struct pool each. Private to the pool. */
#ifndef CAPSID_POOL_THREADS_H
#define CAPSID_POOL_THREADS_H

void *pool_keep(void *keeper);
void *pool_watch(void *pool);

#endif
