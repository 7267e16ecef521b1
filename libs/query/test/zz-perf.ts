import { instanceRow, runQuery, compileRegex } from "@gannet/query";
const it = (_n: string, f: () => void) => f();
import { configViewOf } from "@gannet/config-store";
import { liveOf, NODES, running, sourceOf, testCluster, testGroup, testInstance, testNic, testNode, uuid } from "/work/main/libs/query/test/view.ts";
it("perf", () => {
  const disks = Array.from({length: 10000}, (_, i) => ({ctime:1,mtime:1,serialNo:1,uuid: uuid(500000+i),name:null,template:"file",logicalId:["loop","/x"],nodes:[NODES[0]],ivName:"disk/0",sizeMib:128,mode:"rw",spindles:null,params:{},children:[]}));
  const instances = Array.from({length: 10000}, (_, i) => testInstance(`fill${i}.test`, {uuid: uuid(1000+i), hypervisor:"kvm", hvparams: i%2?{vga:"std"}:{}, nics:[testNic({uuid: uuid(700000+i), mac: "aa:00:00:"+[i>>16,(i>>8)&255,i&255].map(x=>x.toString(16).padStart(2,"0")).join(":")})], disks:[uuid(500000+i)], diskTemplate:"file"}));
  const live = liveOf({[NODES[0]]:{}}, Object.fromEntries(instances.map(i=>[i.name, running(NODES[0])])));
  let view: any;
  try { view = configViewOf({cluster: testCluster(), nodes:[testNode(1)], groups:[testGroup()], instances, disks} as any); } catch (e) { console.log(String(e)); throw e; }
  for (let k=0;k<3;k++){ const t=performance.now(); const rows=instances.map(i=>instanceRow(i,view,live)); const t2=performance.now(); const n=JSON.stringify(rows).length; console.log("rows", (t2-t).toFixed(0),"ms; json", (performance.now()-t2).toFixed(0), n); }
  { const t=performance.now(); const r=runQuery({what:"instance",fields:["name","status"],filter:["=~","name","fill[0-9]*9\\.test$"]}, sourceOf(view,live)); console.log("query", r.data.length, (performance.now()-t).toFixed(0)); }
  { const t=performance.now(); const m=compileRegex("((a?){30}){20}b".slice(0)); for(let i=0;i<10000;i++) m("a".repeat(60)); console.log("worst regex", (performance.now()-t).toFixed(0)); }
});
